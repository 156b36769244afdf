"""LitServe with its batching on, over the same ONNX graph and tokenizer. python -m … FOLDER PORT GRAPH"""

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class Classify(litserve.LitAPI):
    """As its documentation writes one: decode, batch, predict, unbatch, encode."""

    def __init__(self, folder: str, graph: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.folder, self.graph = folder, graph

    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(f"{self.folder}/{self.graph}", options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(f"{self.folder}/tokenizer.json")
        self.tokenizer.enable_truncation(128)
        self.tokenizer.enable_padding()

    def decode_request(self, request: dict[str, str]) -> str:
        return request["text"]

    def predict(self, texts: list[str]) -> np.ndarray:
        found = self.tokenizer.encode_batch(list(texts))
        ids, mask = (np.array([getattr(item, name) for item in found], np.int64) for name in ("ids", "attention_mask"))
        logits = self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})[0]
        power = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: np.ndarray = power / power.sum(axis=1, keepdims=True)
        return shares

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        return {"label": int(output.argmax()), "probabilities": output.tolist()}


if __name__ == "__main__":
    folder, port, graph = sys.argv[1:4]
    api = Classify(folder, graph, max_batch_size=16, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=2)
    server.run(host="127.0.0.1", port=int(port), num_api_servers=1, log_level="warning", generate_client_file=False)
