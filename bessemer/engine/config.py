"""The settings of training, under the names that the field uses. Every learning stage's config extends `TrainingConfig`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bessemer.core.recipe import StageConfig

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class TrainingConfig(StageConfig):
    """How a network is trained."""

    num_train_epochs: Annotated[float, Field(gt=0, le=100_000)] = 3
    """Passes over the training rows; a fraction is a part of a pass."""
    max_steps: Positive | None = None
    """Optimiser steps at most; by default as many as the epochs have."""
    per_device_train_batch_size: Positive = 32
    """Rows in a batch at most."""
    tokens_per_batch: Positive | None = None
    """Tokens in a batch at most, padding counted; by default no such limit."""
    gradient_accumulation_steps: Positive = 1
    """Batches whose gradients are added up before one optimiser step."""
    gradient_threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads that each compute a part of a batch's rows, for networks of tables without dropout and batch normalisation; beside it set the
    recipe's `threads: 1`, which are the threads within an operator."""
    optim: Literal["adamw", "sgd"] = "adamw"
    """Optimiser: AdamW (Loshchilov & Hutter 2019) or SGD with momentum."""
    learning_rate: Annotated[float, Field(ge=0)] = 5e-5
    """Peak learning rate."""
    head_learning_rate: Annotated[float, Field(ge=0)] | None = None
    """Peak learning rate of the heads, where new heads on a trained trunk should learn faster than it; by default the same."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay; biases and normalisation weights are exempt."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] | None = None
    """AdamW's first decay rate; 0.9 by default."""
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] | None = None
    """AdamW's second decay rate; 0.999 by default."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """SGD's momentum; 0.9 by default."""
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after warm-up: to zero in a line or a half cosine, or not at all."""
    warmup_ratio: Fraction = 0.06
    """Part of all steps in which the learning rate rises from zero."""
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Gradients are scaled down to this norm; null for no clipping."""
    evals_per_epoch: Positive = 1
    """Validations in a pass over the training rows."""
    early_stopping_patience: Positive | None = None
    """Stop after so many validations without a better value; by default never."""
    stop_at: float | None = None
    """Stop when the metric for the best model has reached this value; by default never."""
    naive_after: Fraction | None = None
    """Part of all steps after which training stops where its validation loss is worse than that of the naive predictor (the classes'
    shares, the mean); by default never."""
    metric_for_best_model: str | None = None
    """The validation metric that chooses the weights to keep; by default the task's own."""
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 60
    """Seconds between checkpoints. It decides what a kill costs, never the result."""
    logging_steps: Positive = 10
    """Steps between points of the training curve."""

    @model_validator(mode="after")
    def _optimiser_keys(self) -> TrainingConfig:
        if self.optim == "sgd" and (self.adam_beta1 is not None or self.adam_beta2 is not None):
            raise ValueError("adam_beta1 and adam_beta2 have no effect with optim: sgd; remove them")
        if self.optim == "adamw" and self.momentum is not None:
            raise ValueError("momentum has no effect with optim: adamw; remove it or set optim: sgd")
        if self.head_learning_rate is not None and not self.learning_rate:
            raise ValueError("head_learning_rate needs a learning_rate above 0; to train the head alone set adaptation: head")
        return self
