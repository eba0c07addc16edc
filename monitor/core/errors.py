"""The error tree. Errors carry fields, say what to do next, know whether a retry can help, and map to one exit code.

    LevmonError                    70
    ├── ConfigError                 2   the command line or levmon.toml is wrong; says which line and the fix
    ├── ChainError                  3   the chain could not be read
    │   ├── RpcUnavailable          *   no endpoint answered in time
    │   ├── RateLimited             *   429 or its JSON-RPC twin; carries retry_after_s
    │   ├── StaleHead               *   the newest block is too old to decide on
    │   ├── Reorged                 *   the pinned block is no longer canonical
    │   ├── StateMissing            *   this node no longer has (or not yet has) the state of the pinned block
    │   ├── WrongChain                  the endpoint serves another chain than configured
    │   ├── BadAnswer               *   the endpoint answered something that the protocol does not allow
    │   └── RpcError                    a JSON-RPC error that is none of the above
    ├── CallFailed                  3   a call of a read plan reverted or could not be read
    ├── DecodeError                 3   bytes do not fit the ABI
    ├── ProtocolError               3   a protocol's facts contradict each other or are not supported
    ├── VerifyMismatch              1   a recomputed number differs from the contract's own
    └── SigningError                4   there is no signature to use
        ├── SignerRefused               the signer answered, and the answer is no
        ├── SignerUnavailable       *   the signer did not answer; it may or may not have signed
        └── WrongSignature              what came back is not what was asked for

(* retryable). What must not be here: prose without fields, or anything that could hold a secret (URLs are masked
before).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from monitor.core.types import Query, Reverted, Unread


class LevmonError(Exception):
    """Root of all errors that levmon raises on purpose. `hint` says what to do next."""

    exit_code: ClassVar[int] = 70
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class ConfigError(LevmonError):
    """Usage or configuration is wrong; nothing was read or sent."""

    exit_code = 2


class ChainError(LevmonError):
    """The chain could not be read; positions that depend on it are Unknown."""

    exit_code = 3


class RpcUnavailable(ChainError):
    """No endpoint answered within the deadline."""

    retryable = True


class RateLimited(ChainError):
    """The endpoint asked us to slow down."""

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class StaleHead(ChainError):
    """The newest block that any endpoint knows is too old to decide on."""

    retryable = True


class Reorged(ChainError):
    """The block that a snapshot is pinned to left the canonical chain."""

    retryable = True


class StateMissing(ChainError):
    """The node has no state for the pinned block: it lags behind, or has pruned it."""

    retryable = True


class WrongChain(ChainError):
    """The endpoint serves another chain id than the configuration says."""


class BadAnswer(ChainError):
    """The endpoint's answer breaks JSON-RPC or its own earlier words (id, shape, size, quantity, hash)."""

    retryable = True


class RpcError(ChainError):
    """A JSON-RPC error with its code, as the node sent it."""

    def __init__(self, message: str, *, code: int, data: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.data = data


class CallFailed(LevmonError):
    """A call that a read plan needs reverted or could not be read."""

    exit_code = 3

    def __init__(self, query: Query, answer: Reverted | Unread) -> None:
        super().__init__(f"{query}: {answer.reason}")
        self.query = query
        self.answer = answer


class DecodeError(LevmonError):
    """Bytes do not fit the ABI that they should have."""

    exit_code = 3


class ProtocolError(LevmonError):
    """What a protocol's contracts say is contradictory or of an unsupported kind."""

    exit_code = 3


class VerifyMismatch(LevmonError):
    """A recomputed number differs from the contract's own getter."""

    exit_code = 1


class SigningError(LevmonError):
    """There is no signature to use."""

    exit_code = 4


class SignerRefused(SigningError):
    """The signer will not sign this; asking again does not help."""


class SignerUnavailable(SigningError):
    """The signer did not answer; it may or may not have signed. Asking the same again is safe."""

    retryable = True


class WrongSignature(SigningError):
    """The signer signed something else than it was asked, or with another key. Never use it."""
