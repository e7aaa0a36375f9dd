"""Ids that are derived, never drawn: the same workspace and source id give the same ids in every run. Pure."""

from base64 import urlsafe_b64encode
from hashlib import sha256


def external_id(kind: str, workspace_id: str, source_id: str) -> str:
    """Return 21 characters of [A-Za-z0-9_-], one of 2^126 values of SHA-256 over kind, workspace and source id."""
    digest = sha256("\x1f".join((kind, workspace_id, source_id)).encode()).digest()
    return urlsafe_b64encode(digest)[:21].decode()
