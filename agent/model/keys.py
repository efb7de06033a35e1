"""Keys that open a BitLocker volume, as people hand them over."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.errors import MalformedInput
from agent.model.secrets import Secret


@dataclass(frozen=True, slots=True)
class RecoveryPassword:
    """48 digits in eight groups of six, each divisible by 11 (the "numerical password")."""

    secret: Secret

    @classmethod
    def parse(cls, text: str) -> RecoveryPassword:
        """Accepts any blanks or dashes between groups; raises MalformedInput naming the bad group.

        A group is a 16-bit number times 11, so it is below 720,896 and divisible by 11
        (libyal, "BitLocker Drive Encryption format").
        """
        groups = re.split(r"[\s\-\u2010-\u2015]+", text.strip())
        if len(groups) == 1 and len(groups[0]) == 48:
            groups = [groups[0][i : i + 6] for i in range(0, 48, 6)]
        if len(groups) != 8:
            raise MalformedInput(f"a recovery password has 8 groups of 6 digits; this one has {len(groups)}")
        for number, group in enumerate(groups, 1):
            if len(group) != 6 or not (group.isascii() and group.isdigit()):
                raise MalformedInput(f"group {number} of the recovery password is not 6 digits")
            if int(group) % 11 or int(group) >= 720_896:
                raise MalformedInput(f"group {number} of the recovery password has a wrong digit (check sum)")
        return cls(Secret("-".join(groups)))

    def numbers(self) -> tuple[int, ...]:
        """The eight 16-bit numbers behind the groups. Secret."""
        return tuple(int(group) // 11 for group in self.secret.reveal().split("-"))


@dataclass(frozen=True, slots=True)
class Password:
    """A user password, any Unicode text."""

    secret: Secret


@dataclass(frozen=True, slots=True)
class StartupKey:
    """The contents of a .BEK file, as hex text."""

    secret: Secret

    @classmethod
    def from_bytes(cls, data: bytes) -> StartupKey:
        """``data`` is the whole file; its structure is checked when it is used."""
        return cls(Secret(data.hex()))


@dataclass(frozen=True, slots=True)
class ClearKey:
    """No key at all: protection is suspended and the key lies on the drive."""


type_names = {
    RecoveryPassword: "recovery password",
    Password: "password",
    StartupKey: "startup key",
    ClearKey: "clear key",
}

Credential = RecoveryPassword | Password | StartupKey | ClearKey


def parse_credential(data: bytes) -> Credential:
    """A key as it stands in a file or on standard input: BEK bytes, 48 digits, or a password.

    Text of 8 dash-separated groups is taken for a recovery password (and checked as one); any
    other text is a password, of which one trailing newline is dropped. Raises MalformedInput.
    """
    if len(data) >= 48 and data[4:8] == b"\x01\x00\x00\x00" and data[8:12] == b"\x30\x00\x00\x00":
        return StartupKey.from_bytes(data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MalformedInput("the key is neither a BEK file nor UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise MalformedInput("the key is empty")
    digits = re.sub(r"[\s\-\u2010-\u2015]", "", text)
    if re.fullmatch(r"[\s\d\-\u2010-\u2015]+", text) and len(digits) >= 40:
        return RecoveryPassword.parse(text)
    return Password(Secret(text))
