"""Every address of the server in one table: what answers it, and what its documentation says."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.serve.admin import Admin
from bessemer.serve.gate import Handler
from bessemer.serve.handlers import Prediction
from bessemer.serve.kserve import KServe


@dataclass(frozen=True)
class Address:
    """One method of one path.

    Attributes:
        method: HTTP method.
        path: with `{model}` and `{version}`.
        handler: what answers.
        about: one sentence.
        tag: its group in the documentation.
        body: name of the schema of its body; empty: it has none.
        answer: name of the schema of its answer; empty: no JSON.
        faults: kinds of problem that it may answer with.
    """

    method: str
    path: str
    handler: Handler
    about: str
    tag: str
    body: str = ""
    answer: str = "Any"
    faults: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Tell whether the path names no model."""
        return "{" not in self.path


ASKED = ("malformed", "no-key", "not-found", "timeout-request", "conflict", "too-large", "media-type", "row", "busy", "no-model")
KNOWN = ("no-key", "not-found", "conflict", "no-model")
RULED = ("malformed", "no-key", "forbidden", "not-found", "timeout-request", "conflict", "too-large", "media-type", "no-model")


def addresses(prediction: Prediction, kserve: KServe, admin: Admin) -> list[Address]:
    """Return every address, those that are asked often first."""
    ask = [("predict", prediction.predict, "Answer one row.", "Row", "Answer"),
           ("predict_batch", prediction.predict_batch, "Answer several rows.", "Rows", "Answers"),
           ("predict_lines", prediction.predict_lines,
            "Answer JSON lines as they come, one line each; empty lines are counted and have none.", "Lines", ""),
           ("explain", prediction.explain, "Answer one row and say which words or columns decided.", "Row", "Explained")]
    found = [Address("POST", f"/{verb}", handler, about, "predict", body, answer, ASKED) for verb, handler, about, body, answer in ask]
    for mark in ("/v1/models/{model}", "/v1/models/{model}/versions/{version}"):
        found += [Address("POST", f"{mark}/{verb}", handler, about, "named models", body, answer, ASKED)
                  for verb, handler, about, body, answer in ask]
    found += [
        Address("GET", "/v1/models/{model}", admin.model, "A model's versions and routing.", "named models", "", "Model", KNOWN),
        Address("GET", "/models", admin.models, "Every model, its versions, and why one is not served.", "server", "", "Models",
                ("no-key",)),
        Address("GET", "/health", admin.health, "Whether the process lives.", "server"),
        Address("GET", "/ready", admin.ready, "Whether the models are ready.", "server", faults=("no-model",)),
        Address("GET", "/metrics", admin.metrics, "Counters for Prometheus, of all processes.", "server", "", "", ("no-key",)),
        Address("GET", "/page.json", admin.page_json, "The columns, targets and examples of the first model.", "server", "", "Page", KNOWN),
        Address("GET", "/v1/models/{model}/page.json", admin.page_json, "The columns, targets and examples of a model.", "named models", "",
                "Page", KNOWN),
        Address("GET", "/v2", kserve.server, "What the server is.", "kserve v2", faults=("no-key",)),
        Address("GET", "/v2/health/live", kserve.live, "Whether the process lives.", "kserve v2", faults=("no-key",)),
        Address("GET", "/v2/health/ready", kserve.ready, "Whether the models are ready.", "kserve v2", faults=("no-key", "no-model"))]
    for mark in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        found += [
            Address("GET", mark, kserve.model, "What a model reads and gives.", "kserve v2", faults=KNOWN),
            Address("GET", f"{mark}/ready", kserve.model_ready, "Whether a model is ready.", "kserve v2", faults=KNOWN),
            Address("POST", f"{mark}/infer", kserve.infer, "Answer rows that are given as tensors.", "kserve v2", "Infer", "Inferred",
                    ASKED)]
    rule = "/admin/models/{model}"
    found += [
        Address("POST", f"{rule}/use", admin.use, "Let a version answer everything: a new one, or an old one again; \"newest\" follows "
                "the newest.", "administration", "Use", "Model", RULED),
        Address("POST", f"{rule}/shares", admin.shares, "Let versions answer shares of the requests, by the request's id.",
                "administration", "Shares", "Model", RULED),
        Address("POST", f"{rule}/shadow", admin.shadow, "Let a version be asked as well; only whether it agrees is counted.",
                "administration", "Shadow", "Model", RULED),
        Address("POST", f"{rule}/unload", admin.unload, "Put a version away that is not in use.", "administration", "Unload", "Model",
                RULED),
        Address("POST", "/admin/reload", admin.reload, "Look for new versions now.", "administration", "", "Models", RULED)]
    return found
