"""The server that a tutorial writes: a `transformers` pipeline behind one FastAPI route. python -m … FOLDER PORT"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline


class Row(BaseModel):
    text: str


folder, port = sys.argv[1:3]
classify = pipeline("text-classification", model=folder, tokenizer=folder, device=-1, truncation=True, max_length=128, top_k=None)
app = FastAPI()


@app.post("/predict")
def predict(row: Row) -> Any:
    return classify(row.text)


uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)
