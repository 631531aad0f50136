"""What this package raises on purpose. Each message says what happened, to what, and what to do."""


class ClerkSyncError(Exception):
    """Base of the errors below."""


class SettingsError(ClerkSyncError):
    """An environment variable or a parameter is missing or wrong."""


class EventError(ClerkSyncError):
    """A function does not take the event that it was invoked with."""


class MessageError(ClerkSyncError):
    """A message on the queue is not a page, or a request is not from API Gateway or has a wrong body."""


class NewerVersion(MessageError):
    """A newer version of clerk-sync sent the page: its own workers can read it."""


class Unauthorized(ClerkSyncError):
    """Clerk did not sign the webhook, or no session token proves that the request is its caller's."""


class ClerkError(ClerkSyncError):
    """Base of what can go wrong with Clerk's API."""


class ClerkRefused(ClerkError):
    """Clerk's API refuses the key, the address or the request: trying again does not help."""


class UserUnknown(ClerkError):
    """Clerk has no user with this id."""


class CursorRefused(ClerkError):
    """Clerk refuses `starting_after`, as it may when that user was deleted."""


class ClerkUnavailable(ClerkError):
    """Clerk gave no usable answer, or a firewall or proxy answered instead. Trying later may help."""


class AwsError(ClerkSyncError):
    """An AWS service refused a call, could not be reached, or throttled it for too long."""


class RowRefused(AwsError):
    """DynamoDB will never take this row, for the reason in the message: it is over 400 KB, say, or an index
    can't hold one of its values."""


class Throttled(AwsError):
    """DynamoDB kept throttling a table until the attempts, or the time, were used up."""


class PageOutdated(ClerkSyncError):
    """The page is done, or it was read again or continued in another message: its outcome would not count."""


class LeaseLost(ClerkSyncError):
    """Another invocation has taken the run over."""


class OutOfTime(ClerkSyncError):
    """The function's own time is nearly over: the run continues in another invocation."""
