"""The settings of training, under the names that the field uses. Every learning stage's config extends `TrainingConfig`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.recipe import StageConfig

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Averaging(Config):
    """Averages of the weights along the way: they are validated, kept and saved in the place of the last weights."""

    kind: Literal["swa", "ema"] = "swa"
    """swa: the mean of the weights (Polyak & Juditsky 1992; Izmailov et al. 2018); ema: a mean that forgets at the rate `decay`."""
    start: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Part of all steps after which averaging begins."""
    every: Positive = 1
    """Steps from one set of weights that is averaged to the next."""
    decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """ema alone: what remains of the average at each new set of weights; 0.999 by default."""

    @model_validator(mode="after")
    def _effective(self) -> Averaging:
        if self.kind == "swa" and self.decay is not None:
            raise ValueError("decay has an effect with kind: ema alone; remove it")
        return self


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
    """Threads that each compute a part of a batch's rows, beside which the recipe's `threads`, those within an operator, are set to 1: for
    networks of tables without dropout and batch normalisation, and for BERT, whole or pruned, with the tasks classification, mlm, and
    distillation without relations. With dropout its number decides which values are dropped."""
    bf16: bool | Literal["auto"] = False
    """Whether products of matrices are computed in bfloat16 while training, weights and all else in float32: for networks of BERT's kind.
    auto: where the network can and the processor multiplies such numbers itself. Validation and the saved weights are in float32."""
    optim: Literal["adamw", "adam", "sgd"] = "adamw"
    """Optimiser: AdamW (Loshchilov & Hutter 2019), Adam (Kingma & Ba 2015) or SGD with momentum."""
    learning_rate: Annotated[float, Field(ge=0)] = 5e-5
    """Peak learning rate."""
    head_learning_rate: Annotated[float, Field(ge=0)] | None = None
    """Peak learning rate of the heads, where new heads on a trained trunk should learn faster than it; by default the same."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each layer of a text network learns at this part of the rate of the layer above it: the top layer at learning_rate x layer_decay,
    the embeddings below n layers at learning_rate x layer_decay^(n + 1), heads at their own rate (Howard & Ruder 2018)."""
    gradual_unfreezing: Annotated[float, Field(gt=0)] | None = None
    """Passes over the training rows (a fraction is a part of one) after which the next layer is trained too, from the top of a text
    network down: first the heads alone, the embeddings last (Howard & Ruder 2018); by default everything from the start."""
    averaging: Averaging | None = None
    """Average the weights along the way; by default no."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay: with adamw decoupled from the gradient, with adam and sgd added to it, as torch does; biases and normalisation weights
    are exempt."""
    l2: Annotated[float, Field(ge=0)] = 0.0
    """Added to the gradient for each unit of a weight, before clipping: the penalty l2/2 x the sum of squares; the same are exempt."""
    l1: Annotated[float, Field(ge=0)] = 0.0
    """Added to the gradient with each weight's sign: the penalty l1 x the sum of absolute weights; the same are exempt."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Adam's and AdamW's first decay rate; 0.9 by default."""
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Adam's and AdamW's second decay rate; 0.999 by default."""
    adam_epsilon: Annotated[float, Field(gt=0)] | None = None
    """What Adam and AdamW add to the root of the second moment; 1e-8 by default."""
    bias_correction: bool | None = None
    """Whether Adam and AdamW correct their moments for having begun at zero; true by default. BERT was trained without."""
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
        if self.optim == "sgd" and (self.adam_epsilon is not None or self.bias_correction is not None):
            raise ValueError("adam_epsilon and bias_correction have no effect with optim: sgd; remove them")
        if self.optim != "sgd" and self.momentum is not None:
            raise ValueError(f"momentum has no effect with optim: {self.optim}; remove it or set optim: sgd")
        if self.gradual_unfreezing is not None and self.gradient_threads > 1:
            raise ValueError("gradual_unfreezing and gradient_threads do not go together in this version; remove one of them")
        if self.head_learning_rate is not None and not self.learning_rate:
            raise ValueError("head_learning_rate needs a learning_rate above 0; to train the head alone set adaptation: head")
        return self
