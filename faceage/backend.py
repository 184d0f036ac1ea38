"""The only code that knows which backend Keras runs on: gradients, and compiling a step."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from faceage.errors import UsageError


def _unsupported() -> UsageError:
    return UsageError(
        f"the Keras backend is {keras.backend.backend()!r}; faceage trains and optimises on 'tensorflow' or 'torch'",
        "set KERAS_BACKEND to one of them",
    )


if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def gradients(loss: Callable[[], tuple[Any, Any]], variables: Sequence[keras.Variable]) -> tuple[Any, Any, list]:
        """Call `loss() → (scalar, extras)` and differentiate it: (scalar, extras, one gradient per variable)."""
        with tf.GradientTape() as tape:
            value, extras = loss()
        return value, extras, tape.gradient(value, [variable.value for variable in variables])

    def input_gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
        """d sum(function(inputs)) / d inputs, itself differentiable."""
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = ops.sum(function(inputs))
        return tape.gradient(outputs, inputs)

    def compile_step(step: Callable) -> Callable:
        """`step`, a function of arrays, as a graph that is traced once for each set of shapes."""
        return tf.function(step)

    def fuse(update: Callable) -> Callable:
        """`update`, element-wise work on large arrays, in one pass over memory (XLA: a third of the time)."""
        return tf.function(update, jit_compile=True)

elif keras.backend.backend() == "torch":
    import torch

    def gradients(loss: Callable[[], tuple[Any, Any]], variables: Sequence[keras.Variable]) -> tuple[Any, Any, list]:
        """Call `loss() → (scalar, extras)` and differentiate it: (scalar, extras, one gradient per variable)."""
        with torch.enable_grad():
            value, extras = loss()
            found = torch.autograd.grad(value, [variable.value for variable in variables], allow_unused=True)
        return value.detach(), extras, list(found)

    def input_gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
        """d sum(function(inputs)) / d inputs, itself differentiable."""
        inputs = inputs.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(ops.sum(function(inputs)), inputs, create_graph=True)
        return gradient

    def compile_step(step: Callable) -> Callable:
        """`step`, a function of arrays, without recording gradients that nobody asked for."""
        return torch.no_grad()(step)

    def fuse(update: Callable) -> Callable:
        """`update` as it is: PyTorch's optimisers already work on all arrays at once."""
        return torch.no_grad()(update)

else:
    raise _unsupported()
