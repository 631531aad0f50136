"""A page: some users of one run, as a message on PagesQueue."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError, to_json

from clerk_sync.errors import MessageError, NewerVersion
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import PROBLEMS_SHOWN, Run
from clerk_sync.users.drift import Findings, merge
from clerk_sync.users.fields import DEFAULT_NAMES, FIELDS, Names
from clerk_sync.users.user import Change, Deletion, User, UserProblem

VERSION = 3
"""The format of the pages that are sent. Pages of the version before are read too: when the format changes,
raise this, and give each new field a default that fits a page of the version before."""
MAX_BYTES = 512 * 1024
"""The most that the users of one message take: twice a full page of usual users, half of what SQS takes."""

_NEWER = "newer_version"


@dataclass(frozen=True, slots=True)
class PageOutcome:
    """The outcome of a page's users: the counts, the first problems, and the findings by kind."""

    counts: Counts = field(default_factory=Counts)
    problems: tuple[UserProblem, ...] = ()
    findings: Findings = field(default_factory=dict)

    def __add__(self, other: "PageOutcome") -> "PageOutcome":
        problems = (*self.problems, *other.problems)[:PROBLEMS_SHOWN]
        findings = merge([self.findings, other.findings]) if self.findings or other.findings else {}
        return PageOutcome(self.counts + other.counts, problems, findings)


class Page(BaseModel):
    """One message.

    `number` counts the run's pages from 1. `token` distinguishes this copy of the page from one that an
    invocation sent just before it was cut off. `read_at` (ms) is when Clerk was asked. `webhooks_since` and
    `full_run_at` (ms) are the run's, to decide what was wrong with a row. `names` are the fields that its
    users carry: no other attribute is written, whichever fields are synced by now.

    A page that DynamoDB throttles is continued in another message with the users that are left: `part` counts
    these from 0, `done` is the outcome of the users before, and `stalls` counts the parts in a row in which
    no user was done.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["clerk-sync/page"] = "clerk-sync/page"
    version: int = Field(default_factory=lambda: VERSION, ge=1)
    run_id: str
    number: Annotated[int, Field(ge=1)]
    token: str
    read_at: int
    create_missing: bool
    dry_run: bool
    names: Names = DEFAULT_NAMES
    users: tuple[User, ...]
    deletions: tuple[Deletion, ...] = ()
    webhooks_since: int | None = None
    full_run_at: int | None = None
    part: Annotated[int, Field(ge=0)] = 0
    stalls: Annotated[int, Field(ge=0)] = 0
    done: PageOutcome = Field(default_factory=PageOutcome)

    @field_validator("version")
    @classmethod
    def _readable(cls, version: int) -> int:
        if version > VERSION:
            raise PydanticCustomError(_NEWER, "it is newer")
        if version < VERSION - 1:
            raise PydanticCustomError("older_version", "it is too old")
        return version

    @field_validator("names")
    @classmethod
    def _known(cls, names: Names) -> Names:
        if not FIELDS.keys() >= set(names):
            raise PydanticCustomError(_NEWER, "it has a field that this version does not sync")
        return names

    @field_validator("users")
    @classmethod
    def _with_names(cls, users: tuple[User, ...], info: ValidationInfo) -> tuple[User, ...]:
        names = info.data.get("names", ())
        for user in users:
            if not set(names) >= {*user.fields, *user.refused}:
                raise ValueError("a field that is not synced")
            if not all(FIELDS[name].type.holds(value) for name, value in user.fields.items()):
                raise ValueError("a value of another type")
        return tuple(replace(user, names=names) for user in users)

    @classmethod
    def of(
        cls,
        run: Run,
        number: int,
        read_at: int,
        *,
        create_missing: bool,
        users: tuple[User, ...] = (),
        deletions: tuple[Deletion, ...] = (),
    ) -> Self:
        """A new page of a run."""
        return cls(
            run_id=run.run_id,
            number=number,
            token=uuid.uuid4().hex,
            read_at=read_at,
            create_missing=create_missing,
            dry_run=run.dry_run,
            names=run.names,
            users=users,
            deletions=deletions,
            webhooks_since=run.webhooks_since,
            full_run_at=run.full_run_at,
        )

    @property
    def changes(self) -> list[Change]:
        """The changes that the page carries, in order."""
        return [*self.users, *self.deletions]

    def next_part(self, left: Sequence[Change], done: PageOutcome) -> Self:
        """The message that continues this page with the users that are left."""
        return self.model_copy(
            update={
                "version": VERSION,
                "users": tuple(change for change in left if isinstance(change, User)),
                "deletions": tuple(change for change in left if isinstance(change, Deletion)),
                "part": self.part + 1,
                "stalls": self.stalls + 1 if len(left) == len(self.changes) else 0,
                "done": done,
            }
        )

    def dump(self) -> str:
        """The message's body: all ASCII, as SQS refuses some characters that a name may hold."""
        return self.model_dump_json(ensure_ascii=True, exclude={"users": {"__all__": {"names"}}})

    @classmethod
    def load(cls, body: str) -> Self:
        """The reverse of `dump`. Raises NewerVersion, and MessageError for anything else that is not a page;
        neither quotes the body."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            kinds = {fault["loc"]: fault["type"] for fault in error.errors(include_url=False)}
            if _NEWER in kinds.values() and ("kind",) not in kinds:
                raise NewerVersion("A newer version of clerk-sync sent this page.") from None
            raise MessageError(
                f"The message is not a page that this version of clerk-sync can read: {_faults(error)}"
            ) from None


def _faults(error: ValidationError) -> str:
    """Which of a page's own keys are wrong, and how. Neither the keys nor the values of a foreign message are
    quoted."""
    found = {}
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        key = fault["loc"][0] if fault["loc"] else "it"
        found[key if key in Page.model_fields else "another key"] = fault["msg"]
    return "; ".join(f"{key}: {message}" for key, message in found.items())


def message_size(user: User | UserProblem) -> int:
    """How many bytes a user takes in a message, at most."""
    return len(to_json(user, ensure_ascii=True)) if isinstance(user, User) else 0
