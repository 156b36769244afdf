"""What a request can get wrong, as problem documents (RFC 9457): one clear sentence each."""

from __future__ import annotations

from typing import NamedTuple

TYPE = "application/problem+json"


class Kind(NamedTuple):
    """A kind of problem: its status, its title, and what it means, for the documentation."""

    status: int
    title: str
    meaning: str


KINDS = {
    "malformed": Kind(400, "Malformed request", "The body is no JSON, or not of the shape that the address takes."),
    "no-key": Kind(401, "Key missing or wrong", "The server asks for a key: Authorization: Bearer KEY, or X-API-Key: KEY."),
    "forbidden": Kind(403, "Not allowed", "Administration needs a key, or a connection from the same machine."),
    "not-found": Kind(404, "Not found", "No such address, model or version."),
    "method": Kind(405, "Method not allowed", "The address takes another method."),
    "timeout-request": Kind(408, "Request too slow", "The request did not come in time."),
    "too-large": Kind(413, "Too large", "More bytes, rows or characters than the server takes."),
    "media-type": Kind(415, "Media type not supported", "The body is JSON in UTF-8."),
    "row": Kind(422, "Row cannot be predicted", "A column is missing, or holds what the model cannot read."),
    "conflict": Kind(409, "Not possible now", "What was asked does not fit what is served."),
    "busy": Kind(429, "Too many rows wait", "Ask again after the seconds that Retry-After says."),
    "head-too-large": Kind(431, "Head too large", "The request's head is too large."),
    "fault": Kind(500, "Fault of the server", "A defect; the log has its place under the request's id."),
    "no-model": Kind(503, "No model is ready", "No version of the model is loaded, or the server is about to stop."),
    "timeout": Kind(503, "No answer in time", "The answer took longer than the server allows."),
}


class Problem(Exception):
    """A request that cannot be answered.

    Attributes:
        kind: a key of KINDS.
        detail: one sentence: what, where, what was expected, what to do.
        headers: further headers of the answer.
    """

    def __init__(self, kind: str, detail: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.headers = kind, detail, headers

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return KINDS[self.kind].status

    def plain(self) -> dict[str, object]:
        """Return the problem document."""
        kind = KINDS[self.kind]
        return {"type": f"/docs#problem-{self.kind}", "title": kind.title, "status": kind.status, "detail": self.detail}
