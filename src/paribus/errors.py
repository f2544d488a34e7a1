"""Every exception that paribus raises on purpose.

::

    ParibusError
    |-- SpecError      a spec, a path pattern or an argument that does not fit its class
    |   `-- MissingArgument  what a class needs and neither its spec nor its site says
    |-- StudyError     a study file or a study that makes no sense
    |-- PartError      a part that breaks the contract of its slot
    |-- DataError      a corpus, tokenizer or split that cannot be used
    |   `-- HubUnreachable  the hub gives no answer
    |-- TrainingError  a recipe that cannot be run
    |   `-- Diverged   a loss or gradient that is not finite
    |-- StoreError     a store that is damaged, locked, full or of another version
    `-- JudgementError records that do not allow a verdict

The command line prints the message of any of them as one sentence and exits with ``exit_code``.
"""


class ParibusError(Exception):
    """Base of all errors that name what, where, got, expected and the nearest right thing."""

    exit_code = 1


class SpecError(ParibusError):
    exit_code = 2


class MissingArgument(SpecError):
    """``cls`` needs the arguments ``names``, which neither its spec nor its site says."""

    def __init__(self, message: str, cls: type, names: tuple[str, ...]):
        super().__init__(message)
        self.cls, self.names = cls, names


class StudyError(ParibusError):
    exit_code = 2


class PartError(ParibusError):
    pass


class DataError(ParibusError):
    pass


class HubUnreachable(DataError):
    """Neither the hub nor a copy of what is asked for can be had here."""


class TrainingError(ParibusError):
    pass


class Diverged(TrainingError):
    """A loss or a gradient norm was not finite; ``step`` says at which optimizer step."""

    def __init__(self, message: str, step: int):
        super().__init__(message)
        self.step = step


class StoreError(ParibusError):
    pass


class JudgementError(ParibusError):
    pass
