"""What can go wrong in the laboratory itself."""


class LabTrouble(Exception):
    """The laboratory does not do what it should; the message says what it did."""


class LabMissing(Exception):
    """It cannot be had on this machine; the message says why."""


class CommandFailed(LabTrouble):
    """A command in the guest ended with another code than 0."""
