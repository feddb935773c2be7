"""What can go wrong in words a person can act on. Each class fixes its exit code; nothing else does."""


class CountersignError(Exception):
    """A fault stated in one line: where, what was expected, what to do."""

    exit_code = 1


def of_kind(name: str) -> type[CountersignError]:
    """The class of a fault that another process told of by name; what nobody knows is a fault as any."""
    return next((each for each in CountersignError.__subclasses__() if each.__name__ == name), CountersignError)


class UsageError(CountersignError):
    """The call or a configuration file is wrong."""

    exit_code = 2


class DataRefused(CountersignError):
    """The delivered data cannot be accepted; the last good snapshot stays current."""

    exit_code = 4


class VerificationFailed(CountersignError):
    """Evidence is missing, altered or signed by the wrong role."""

    exit_code = 5


class ModelFault(CountersignError):
    """A model did what it may not, or answered with what is no score: a reason to refuse it, not a fault of ours."""

    exit_code = 1


class StageKilled(CountersignError):
    """A stage's process ended without a result (a signal, the out-of-memory killer)."""

    exit_code = 1
