"""The user's key for a service: from the environment or a file, and never shown."""

from __future__ import annotations

import os
from pathlib import Path

from loco.errors import LocoError
from loco.models.card import Service

_SHORTEST_HIDDEN = 4


class Key:
    """A key that shows itself to nobody who does not ask for it."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "Key(hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a key is not written anywhere")

    def reveal(self) -> str:
        """The key itself, for a vendor's client."""
        return self._secret

    def hidden_in(self, text: str) -> str:
        """A text without the key, should it hold it."""
        return text.replace(self._secret, "[key]") if len(self._secret) >= _SHORTEST_HIDDEN else text


def key_for(service: Service) -> Key:
    """The key in the variable that the service names, or in the file that the variable with ``_FILE`` behind names.

    Raises LocoError where there is none, or one that cannot be.
    """
    in_file = f"{service.key}_FILE"
    secret, path = os.environ.get(service.key, "").strip(), os.environ.get(in_file, "").strip()
    place = service.key
    if not secret and path:
        place = f"the file that {in_file} names"
        try:
            secret = Path(path).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise LocoError(
                f"{in_file} names a file that cannot be read: {reason}. Mend it, or set {service.key}."
            ) from None
    if not secret and service.key_optional:
        return Key("none")
    if not secret:
        raise LocoError(
            f"No key for {service.vendor}: set {service.key} to it, or {in_file} to the path of a file that holds it."
        )
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise LocoError(f"What {place} holds is no key: it has blanks or characters that no key has. Set it again.")
    return Key(secret)
