"""Everything that this package raises on purpose. Each message is for a person: what, to what, what to do.

ClerkSyncError
├── SettingsError        an environment variable or a parameter is missing or wrong
├── EventError           the event that the function was invoked with
├── MessageError         what arrived is not what it should be: a queue's message, a request's body
│   └── NewerVersion     a page that a newer version of clerk-sync sent
├── SignatureError       a webhook that Clerk did not sign
├── TokenError           a session token that does not prove who is calling
├── ClerkError
│   ├── ClerkRefused     Clerk's API refuses the key, the address or the request
│   ├── UserUnknown      Clerk has no such user
│   ├── CursorRefused    Clerk does not know the user that the walk wants to go on from
│   └── ClerkUnavailable Clerk gave no usable answer in the time there was; trying later may help
├── AwsError             an AWS service refused a call, or throttled it for too long
│   ├── RowRefused       DynamoDB will never take this row
│   └── Throttled        DynamoDB kept throttling a table
├── PageOutdated         a page's message whose outcome would not count
├── LeaseLost            another invocation has taken the run over
└── OutOfTime            the function's own time is nearly over; the run goes on in another one
"""


class ClerkSyncError(Exception):
    """Base of the errors above."""


class SettingsError(ClerkSyncError):
    """An environment variable or a parameter is missing or wrong."""


class EventError(ClerkSyncError):
    """The event that a function was invoked with is not one it takes."""


class MessageError(ClerkSyncError):
    """A queue's message is not a page, or a request's body is not what it should be."""


class NewerVersion(MessageError):
    """A newer version of clerk-sync sent the page: its own workers can read it."""


class SignatureError(ClerkSyncError):
    """A webhook's signature, timestamp or headers are wrong."""


class TokenError(ClerkSyncError):
    """A session token does not prove who is calling."""


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
    """DynamoDB will never take this row: it is over 400 KB, say, or an index can't hold one of its values.

    The message holds DynamoDB's own reason.
    """


class Throttled(AwsError):
    """DynamoDB kept throttling a table until the attempts, or the time, were used up."""


class PageOutdated(ClerkSyncError):
    """The page is done, or it was read again or continued in another message."""


class LeaseLost(ClerkSyncError):
    """Another invocation has taken the run over."""


class OutOfTime(ClerkSyncError):
    """The function's own time is nearly over."""
