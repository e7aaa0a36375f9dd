"""Who sits at the command line: the name that the record keeps of whoever asked."""

import getpass


def login_name() -> str:
    """Return the name of the account, `unknown` where it has none."""
    try:
        return getpass.getuser().encode("utf-8", "replace").decode()
    except (OSError, KeyError, ImportError):  # an account without a name: which error depends on the version
        return "unknown"
