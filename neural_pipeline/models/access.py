"""How providers are reached: keys, address, patience. Says what to set where something is missing; reads nothing."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import SecretStr

_KEY = re.compile(r"[!-~]+")
_ADDRESS = re.compile(r"https?://[^\s/@?#\\]+(/[^\s?#]*)?", re.IGNORECASE)
_ADDRESS_VARIABLE = "NEURAL_MODEL_BASE_URL"


class ModelMisconfigured(Exception):
    """A model cannot be used as it is configured; the message says which variable to set, and holds no key."""


@dataclass(frozen=True, slots=True)
class Access:
    """Keys of the providers, the address of a server that speaks OpenAI's protocol, and seconds of patience.

    `timeout` is for a whole answer, pauses and the repetition included; `retry_after` is the longest pause.
    """

    openai_key: SecretStr | None = None
    anthropic_key: SecretStr | None = None
    base_url: str | None = None
    timeout: float = 30.0
    retry_after: float = 5.0

    def key_of_openai(self) -> SecretStr:
        """Return the key for OpenAI; a server of one's own needs none. Raises ModelMisconfigured."""
        address = self.address()
        if address is not None and not _text(self.openai_key):
            return SecretStr("no-key-is-set")
        key = _checked(self.openai_key, "OPENAI_API_KEY", "openai:")
        if address is not None:
            check_route(address, key="OPENAI_API_KEY", address=_ADDRESS_VARIABLE)
        return key

    def key_of_anthropic(self) -> SecretStr:
        """Return the key for Anthropic. Raises ModelMisconfigured."""
        return _checked(self.anthropic_key, "ANTHROPIC_API_KEY", "anthropic:")

    def address(self) -> str | None:
        """Return the address of the server that speaks OpenAI's protocol. Raises ModelMisconfigured."""
        if self.base_url is not None and not _ADDRESS.fullmatch(self.base_url):
            like = "like http://127.0.0.1:8000/v1, without a password and without a query"
            raise ModelMisconfigured(f"{_ADDRESS_VARIABLE} must be {like}")
        return self.base_url


def check_route(url: str, *, key: str, address: str) -> None:
    """Raise ModelMisconfigured where a key would leave this machine unencrypted; both variables are named."""
    if not (url.lower().startswith("https://") or _is_loopback(url)):
        ways = f"use https, or unset {key} if the server needs none"
        raise ModelMisconfigured(f"{key} would be sent unencrypted to the address in {address}: {ways}")


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _text(key: SecretStr | None) -> str:
    return key.get_secret_value().strip() if key is not None else ""


def _checked(key: SecretStr | None, variable: str, provider: str) -> SecretStr:
    text = _text(key)
    if not text:
        raise ModelMisconfigured(f"{provider} models need a key: set {variable}")
    # HTTP libraries quote a header that they cannot send in their error, and the key with it.
    if not _KEY.fullmatch(text):
        raise ModelMisconfigured(
            f"{variable} holds characters that no key has (blanks, line ends, umlauts): set it anew"
        )
    return SecretStr(text)
