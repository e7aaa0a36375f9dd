"""The events of the contest: GitHub webhooks with bodies of 1 KB that name about ten things, the same in every run.

Each workspace has four threads of work going on at a time, each of them eight events: an issue, pushes, a pull request
and what becomes of it, a release. So there are clusters to join, actors who come again, entities that are counted up;
one event in a hundred is handed in twice, and some pushes are mere chores that the gate stops.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha1
from pathlib import Path
from typing import Any

from neural_pipeline_tests.benchmarks.fast.wording import PEOPLE, Subject

BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
_WEEK = timedelta(days=7)
_THREADS, _STEPS = 4, 8
_ROUND = _THREADS * _STEPS
_REPEATED = 100
"""One event in so many is one that came before."""

Webhook = dict[str, Any]


@dataclass(frozen=True)
class Events:
    """So many webhooks, spread evenly over so many workspaces."""

    count: int
    workspace_count: int = 20

    @cached_property
    def workspaces(self) -> tuple[str, ...]:
        """The ids of the workspaces."""
        return tuple(f"ws_bench_{number:02}" for number in range(min(self.workspace_count, max(1, self.count))))

    def first(self, count: int) -> "Events":
        """Return the first so many of these events."""
        return Events(min(count, self.count), self.workspace_count)

    @cached_property
    def of_workspace(self) -> Mapping[str, Sequence[bytes]]:
        """The webhooks of each workspace as JSON, in the order of handing in."""
        return {name: list(self._webhooks(place)) for place, name in enumerate(self.workspaces)}

    def in_order(self) -> Iterator[tuple[str, bytes]]:
        """Yield all webhooks with their workspaces, one of each workspace in turn: as they would come in."""
        for number in range(self.count):
            place, workspace = divmod(number, len(self.workspaces))
            name = self.workspaces[workspace]
            yield name, self.of_workspace[name][place]

    def write(self, folder: Path) -> dict[str, Path]:
        """Write one file of JSON lines per workspace, as `neural ingest` reads them; return the files by workspace."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: folder / f"{name}.jsonl" for name in self.workspaces}
        for name, file in files.items():
            file.write_bytes(b"".join(webhook + b"\n" for webhook in self.of_workspace[name]))
        return files

    def _webhooks(self, workspace: int) -> Iterator[bytes]:
        stride = len(self.workspaces)
        for number in range(workspace, self.count, stride):
            place = number // stride
            # The event before in the same thread, with a delivery id of its own: filtered as a duplicate.
            is_repeated = (number + 7 * place) % _REPEATED == 0 and place % _ROUND >= _THREADS
            yield json.dumps(webhook(workspace, place - _THREADS if is_repeated else place)).encode()


def webhook(workspace: int, place: int) -> Webhook:
    """Return the webhook at a place in the history of a workspace."""
    subject = Subject(workspace, place // _ROUND * _THREADS + place % _THREADS)
    step = place % _ROUND // _THREADS
    # Whatever the number of events: a workspace has some five hundred in a week.
    moment = BEGIN + _WEEK * place / 500
    person = subject.people[step % len(subject.people)]
    body = {"repository": _repository(workspace), "sender": _account(person)}
    return _MAKERS[step](subject, step, moment) | body


def _issue(action: str) -> Callable[[Subject, int, datetime], Webhook]:
    def make(subject: Subject, step: int, moment: datetime) -> Webhook:
        issue = {
            "number": subject.issue,
            "title": subject.title,
            "body": subject.text(step),
            "state": "open" if action == "opened" else "closed",
            "user": _account(subject.people[0]),
            "updated_at": moment.isoformat(),
            "assignees": [_account(subject.people[1])],
            "labels": [{"name": subject.component}],
        }
        return {"action": action, "issue": issue}

    return make


def _pull_request(action: str) -> Callable[[Subject, int, datetime], Webhook]:
    def make(subject: Subject, step: int, moment: datetime) -> Webhook:
        pull = {
            "number": subject.pull,
            "title": f"Fix: {subject.title}",
            "body": subject.text(step),
            "state": "closed" if action == "closed" else "open",
            "merged": action == "closed",
            "draft": False,
            "head": {"ref": subject.branch, "sha": _sha(subject, 0)},
            "base": {"ref": "main"},
            "user": _account(subject.people[0]),
            "requested_reviewers": [_account(subject.people[1])],
            "updated_at": moment.isoformat(),
            "additions": 40 + step,
            "deletions": 7,
            "changed_files": 3,
        }
        return {"action": action, "pull_request": pull}

    return make


def _push(kind: str) -> Callable[[Subject, int, datetime], Webhook]:
    def make(subject: Subject, step: int, moment: datetime) -> Webhook:
        login, _ = subject.people[step % len(subject.people)]
        author = {"name": login.title(), "email": f"{login}@example.com", "username": login}
        commit = {
            "id": _sha(subject, step),
            "message": f"{kind}: {subject.title}\n\n{subject.text(step)}",
            "timestamp": moment.isoformat(),
            "author": author,
            "added": [],
            "modified": [subject.path],
            "removed": [],
        }
        return {
            "ref": "refs/heads/main",
            "before": _sha(subject, step + 100),
            "after": commit["id"],
            "commits": [commit],
            "head_commit": commit,
            "pusher": {"name": login, "email": author["email"]},
            "forced": False,
        }

    return make


def _release(subject: Subject, step: int, moment: datetime) -> Webhook:
    release = {
        "tag_name": f"v1.{subject.number}.{subject.workspace}",
        "name": f"Release of {subject.title}",
        "body": subject.text(step),
        "target_commitish": "main",
        "author": _account(subject.people[0]),
        "published_at": moment.isoformat(),
        "draft": False,
        "prerelease": False,
    }
    return {"action": "published", "release": release}


_MAKERS = (
    _issue("opened"),
    _push("feat"),
    _pull_request("opened"),
    _push("chore"),
    _pull_request("ready_for_review"),
    _pull_request("closed"),
    _issue("closed"),
    _release,
)


def _account(person: tuple[str, int]) -> dict[str, Any]:
    login, id_ = person
    return {"login": login, "id": id_, "avatar_url": f"https://avatars.githubusercontent.com/u/{id_}", "type": "User"}


def _repository(workspace: int) -> dict[str, Any]:
    name = f"quillmarsh/service-{workspace:02}"
    return {
        "id": 910_200_000 + workspace,
        "full_name": name,
        "html_url": f"https://github.com/{name}",
        "default_branch": "main",
        "owner": _account(PEOPLE[0]),
    }


def _sha(subject: Subject, step: int) -> str:
    return sha1(f"{subject.workspace}/{subject.number}/{step}".encode(), usedforsecurity=False).hexdigest()
