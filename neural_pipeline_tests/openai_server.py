"""A server on the loopback address that speaks as much of OpenAI's and Anthropic's protocols as this project uses.

What it replies is scripted; what it is asked is kept. The shapes of its replies are written for this project.
"""

import base64
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, Self
from zlib import crc32

IN_TOKENS, OUT_TOKENS = 11, 7
"""The usage of a reply that says nothing else."""


@dataclass(frozen=True)
class Asked:
    """A request as it came in; `connection` is the client's port, one per connection."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    connection: int

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization") or self.headers.get("x-api-key", "")

    @property
    def fields(self) -> set[str]:
        """The names of the fields that the answer shall have."""
        tool = self.body["tools"][0]
        schema = tool["function"]["parameters"] if "function" in tool else tool["input_schema"]
        return set(schema["properties"])

    @property
    def texts(self) -> list[str]:
        """The contents of the messages, or the texts that shall be embedded."""
        if "input" in self.body:
            return self.body["input"]
        messages = [str(message["content"]) for message in self.body["messages"]]
        return [json.dumps(self.body["system"]), *messages] if "system" in self.body else messages


@dataclass(frozen=True)
class Reply:
    """What is replied: an `answer` (arguments of the tool that was offered), or `text`, a `refusal`, a `status`.

    `seconds` go by before it, `within` between the halves of its body; `sent` cuts the body to that share and closes;
    `dropped` closes without a word. `body` is sent as it stands.
    """

    answer: Mapping[str, Any] | str | None = None
    text: str | None = None
    refusal: str | None = None
    finish: str | None = None
    usage: tuple[int, int] | None = (IN_TOKENS, OUT_TOKENS)
    status: int = 200
    error: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    vectors: Sequence[Sequence[float]] | None = None
    seconds: float = 0.0
    within: float = 0.0
    sent: float = 1.0
    dropped: bool = False


Script = Callable[[Asked], Reply]


def always(reply: Reply) -> Script:
    return lambda asked: reply


def in_turn(*replies: Reply) -> Script:
    """Reply one after the other; the last one stays."""
    lock, left = Lock(), list(replies)

    def script(asked: Asked) -> Reply:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return script


def by_field(answers: Mapping[str, Mapping[str, Any]]) -> Script:
    """Answer by a field that the wanted shape has: {"primaryCategory": {...}, "entities": {...}}. Embeds as well."""

    def script(asked: Asked) -> Reply:
        if asked.path.endswith("/embeddings"):
            return Reply()
        return Reply(answer=next(answer for name, answer in answers.items() if name in asked.fields))

    return script


def refused(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> Reply:
    """Reply with an error; `retry_after="3"` becomes the header Retry-After."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return Reply(status=status, error={"message": message, "type": "an_error", "code": code}, headers=named)


class OpenAIServer:
    """Serves as long as the `with` block lasts: `with OpenAIServer(script) as server: ... server.base_url`."""

    def __init__(self, script: Script | Reply, *, dimension: int = 8) -> None:
        self._script = always(script) if isinstance(script, Reply) else script
        self._dimension = dimension
        self._lock = Lock()
        self.stopping = Event()
        self.asked: list[Asked] = []

    @property
    def address(self) -> str:
        """The address for Anthropic's library, which adds /v1 itself."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def base_url(self) -> str:
        """The address for OpenAI's library and for NEURAL_MODEL_BASE_URL."""
        return f"{self.address}/v1"

    @property
    def count(self) -> int:
        return len(self.asked)

    def __enter__(self) -> Self:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._http.daemon_threads = True
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def reply_to(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
        return self._script(asked)

    def body_of(self, asked: Asked, reply: Reply) -> bytes:
        if reply.body is not None:
            return reply.body
        if reply.error is not None:
            return json.dumps({"type": "error", "error": reply.error}).encode()
        if asked.path.endswith("/embeddings"):
            return json.dumps(_embeddings(asked, reply, self._dimension)).encode()
        return json.dumps(_message(asked, reply) if asked.path.endswith("/messages") else _chat(asked, reply)).encode()


def _handler_of(server: OpenAIServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.path, headers, body, self.client_address[1])
            reply = server.reply_to(asked)
            server.stopping.wait(reply.seconds)
            try:
                self._send(reply, server.body_of(asked, reply))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def _send(self, reply: Reply, body: bytes) -> None:
            self.close_connection = reply.dropped or reply.sent < 1
            if reply.dropped:
                return
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            half, end = len(body) // 2, int(len(body) * reply.sent)
            self.wfile.write(body[: min(half, end)])
            server.stopping.wait(reply.within)
            self.wfile.write(body[half:end])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Say nothing."""

    return Handler


def _arguments(answer: Mapping[str, Any] | str) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer)


def _chat(asked: Asked, reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    if reply.answer is not None:
        called = {"name": asked.body["tools"][0]["function"]["name"], "arguments": _arguments(reply.answer)}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": called}]
    finish = reply.finish or ("tool_calls" if reply.answer is not None else "stop")
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": asked.body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
    }
    if reply.usage is not None:
        into, out = reply.usage
        completion["usage"] = {"prompt_tokens": into, "completion_tokens": out, "total_tokens": into + out}
    return completion


_STOP_REASONS = {"length": "max_tokens", "content_filter": "refusal", "stop": "end_turn"}


def _message(asked: Asked, reply: Reply) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    if reply.answer is not None:
        called = {"name": asked.body["tools"][0]["name"], "input": reply.answer}
        content.append({"type": "tool_use", "id": "toolu_1", **called})
    finish = reply.finish or ("content_filter" if reply.refusal else None)
    into, out = reply.usage or (0, 0)
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked.body["model"],
        "content": content,
        "stop_reason": _STOP_REASONS[finish] if finish else "tool_use" if reply.answer is not None else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": into, "output_tokens": out},
    }


def vector_of(text: str, dimension: int) -> list[float]:
    """A vector that depends on the text alone, of no particular length."""
    return [((crc32(f"{place} {text}".encode()) % 2000) - 999.5) / 100 for place in range(dimension)]


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _embeddings(asked: Asked, reply: Reply, dimension: int) -> dict[str, Any]:
    length = asked.body.get("dimensions", dimension)
    vectors = reply.vectors if reply.vectors is not None else [vector_of(text, length) for text in asked.texts]
    packed = asked.body.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            if packed
            else list(vector),
        }
        for index, vector in enumerate(vectors)
    ]
    into = reply.usage[0] if reply.usage else 0
    usage = {"prompt_tokens": into, "total_tokens": into}
    return {"object": "list", "model": asked.body["model"], "data": data, "usage": usage}
