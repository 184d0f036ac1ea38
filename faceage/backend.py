"""The only code that knows which backend Keras runs on: gradients, compiling a step, and training on several devices.

Several devices (TensorFlow's MirroredStrategy, over machines too by MultiWorkerMirroredStrategy) each hold all the
weights and take an equal part of every batch, in its order; their gradients are added up before a weight moves. So the
outcome is that of one device on the whole batch, but for two things: batch normalisation takes its statistics, and a
loss that compares the faces of a batch compares them, within a device's part; and each device draws its own random
numbers.
"""

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
from keras import ops

from faceage.errors import UsageError

DEVICES = ("one", "all")
"""What training may run on: one device, or all of this machine and of those that TF_CONFIG names."""

_STREAMS = 1_000_003
"""Between the random seeds of two devices; a stage's own seeds lie closer together."""


_CPU_FEATURES = Path("/proc/cpuinfo")
"""Where Linux names what its CPUs can do."""


def _fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32, which it does with AMX and, if it is AMD's, AVX-512.

    Intel's AVX-512 takes twice as long for it as for float32, and one that cannot at all ten times as long.
    """
    try:
        features = set(_CPU_FEATURES.read_text().split())
    except OSError:
        return False
    return "amx_bf16" in features or features.issuperset({"avx512_bf16", "AuthenticAMD"})


def fix_settings() -> None:
    """Set what Keras takes from keras.json or from variables to what all networks here are made for.

    Photos are channels last, numbers float32, and a stage takes the epochs and steps that its options say; which
    backend it is, a user may choose.
    """
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


@contextmanager
def in_float32() -> Iterator[None]:
    """Layers made in the block compute in float32, whatever the global policy is."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


fix_settings()


if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def gradients(loss: Callable[[], tuple[Any, Any]], variables: Sequence[keras.Variable]) -> tuple[Any, Any, list]:
        """Call `loss() → (scalar, extras)` and differentiate it: (scalar, extras, one gradient per variable)."""
        with tf.GradientTape() as tape:
            value, extras = loss()
            # A mean over one of so many equal parts of the batch; the optimiser adds up what the devices find.
            part = value / tf.distribute.get_strategy().num_replicas_in_sync
        return value, extras, tape.gradient(part, [variable.value for variable in variables])

    def input_gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
        """d sum(function(inputs)) / d inputs, itself differentiable."""
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = ops.sum(function(inputs))
        return tape.gradient(outputs, inputs)

    def compile_step(step: Callable) -> Callable:
        """`step`, a function of arrays, as a graph that is traced once for each set of shapes."""
        return tf.function(step)

    def outside_graphs() -> AbstractContextManager[Any]:
        """What is made and filled in the block is no part of a step that is just being compiled."""
        return tf.init_scope()

    def fuse(update: Callable) -> Callable:
        """`update`, element-wise work on large arrays, in one pass over memory (XLA: a third of the time)."""
        # What several devices exchange within an update, XLA cannot compile.
        return update if tf.distribute.has_strategy() else tf.function(update, jit_compile=True)

    def batch_norm(inputs: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any] | None:
        """Normalise (b, h, w, c) by its own statistics in one pass over memory, or None where the backend cannot.

        Answers (outputs in the inputs' dtype, mean and variance (c,) float32).
        """
        outputs, mean, unbiased = tf.compat.v1.nn.fused_batch_norm(inputs, gamma, beta, epsilon=epsilon)
        count = tf.cast(tf.size(inputs[..., 0]), tf.float32)
        return outputs, mean, unbiased * (count - 1) / count

    def distribution(devices: str, batch_size: int) -> AbstractContextManager[Any]:
        """What is made and trained inside is so on `devices`, one of `DEVICES`, in global batches of `batch_size`.

        With TF_CONFIG set, "all" waits for the other workers of the cluster, each started with the same command, and
        from then on all do the same at the same time, measuring and saving too. It has to be the first thing that
        TensorFlow is asked for in a process.
        """
        strategy = _strategy(devices)
        parts = strategy.num_replicas_in_sync
        if batch_size % parts:
            raise UsageError(
                f"a batch of {batch_size} faces cannot be shared out equally among {parts} devices",
                f"use a batch of {-(-batch_size // parts) * parts}",
            )
        return strategy.scope() if parts > 1 else nullcontext()

    def _strategy(devices: str) -> Any:
        return _all_devices() if devices == "all" else tf.distribute.get_strategy()

    @functools.cache
    def _all_devices() -> Any:
        if "TF_CONFIG" in os.environ:
            try:
                return tf.distribute.MultiWorkerMirroredStrategy()
            except (ValueError, KeyError) as error:
                raise UsageError(
                    f"TF_CONFIG describes no cluster: {error}",
                    'as an example: {"cluster": {"worker": ["a:2222", "b:2222"]}, '
                    '"task": {"type": "worker", "index": 0}}',
                ) from error
        found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in found])

    def fastest_dtype() -> str:
        """The Keras dtype policy that trains fastest here: bfloat16 only where the hardware computes it."""
        gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
        fast = all(gpu.get("compute_capability", (0, 0)) >= (8, 0) for gpu in gpus) if gpus else _fast_bfloat16()
        return "mixed_bfloat16" if fast else "float32"

    def is_chief(devices: str) -> bool:
        """Whether this process is the first of all workers, the one whose files count."""
        return _strategy(devices).extended.should_checkpoint

    def _wait_for_all(devices: str) -> None:
        with _strategy(devices).scope():
            _on_each_device(lambda: tf.distribute.get_replica_context().all_reduce("SUM", tf.zeros(())))

    def _on_each_device(action: Callable[[], Any]) -> None:
        # As a graph, since over workers TensorFlow warns of anything else; a concrete one, since it warns of many too.
        tf.function(lambda: tf.distribute.get_strategy().run(action), autograph=False).get_concrete_function()()

    def assign_random(states: Sequence[keras.Variable], values: Sequence[Any]) -> None:
        """Set each state of a `SeedGenerator` to its value (seed, draws so far); each device has a seed of its own."""

        def assign() -> None:
            device = tf.distribute.get_replica_context().replica_id_in_sync_group
            for state, value in zip(states, values, strict=True):
                state.assign(tf.constant(value, tf.int64) + tf.stack([tf.cast(device, tf.int64) * _STREAMS, 0]))

        _on_each_device(assign)

    def average_devices(variables: Sequence[keras.Variable]) -> None:
        """Give every device the mean of what the devices hold: the running means of batch normalisation drift apart."""

        def assign() -> None:
            # Copies: what a variable itself gives has no place for an exchange between workers.
            values = [tf.identity(variable.value) for variable in variables]
            means = tf.distribute.get_replica_context().all_reduce("MEAN", values)
            for variable, mean in zip(variables, means, strict=True):
                variable.assign(mean)

        if variables and tf.distribute.has_strategy():
            _on_each_device(assign)

    def step_value(scalar: Any) -> Any:
        """`scalar` as `train_step` may answer it: over several workers, Keras 3.15 averages along an axis."""
        workers = isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy)
        return ops.reshape(scalar, (1,)) if workers else scalar

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

    def outside_graphs() -> AbstractContextManager[Any]:
        """Nothing to do: steps are not compiled."""
        return nullcontext()

    def fuse(update: Callable) -> Callable:
        """`update` as it is: PyTorch's optimisers already work on all arrays at once."""
        return torch.no_grad()(update)

    def batch_norm(inputs: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any] | None:
        """None: Keras's own is as good."""
        return None

    def distribution(devices: str, batch_size: int) -> AbstractContextManager[Any]:
        """Nothing to do for "one" device, the only one of `DEVICES` that PyTorch is used with."""
        if devices != "one":
            raise UsageError("on several devices, training needs TensorFlow", "set KERAS_BACKEND=tensorflow")
        return nullcontext()

    def fastest_dtype() -> str:
        """The Keras dtype policy that trains fastest here: bfloat16 only where the hardware computes it."""
        fast = torch.cuda.get_device_capability() >= (8, 0) if torch.cuda.is_available() else _fast_bfloat16()
        return "mixed_bfloat16" if fast else "float32"

    def is_chief(devices: str) -> bool:
        """True: there are no other processes."""
        return True

    def _wait_for_all(devices: str) -> None:
        pass

    def assign_random(states: Sequence[keras.Variable], values: Sequence[Any]) -> None:
        """Set each state of a `SeedGenerator` to its value (seed, draws so far)."""
        for state, value in zip(states, values, strict=True):
            state.assign(value)

    def average_devices(variables: Sequence[keras.Variable]) -> None:
        """Nothing to do for one device."""

    def step_value(scalar: Any) -> Any:
        """`scalar` as `train_step` may answer it."""
        return scalar

else:
    raise UsageError(
        f"the Keras backend is {keras.backend.backend()!r}; faceage trains and optimises on 'tensorflow' or 'torch'",
        "set KERAS_BACKEND to one of them",
    )


@contextmanager
def own_folder(devices: str, folder: Path) -> Iterator[Path]:
    """`folder` for the chief; for another worker a copy that is thrown away: saving weights takes all, files only one.

    Workers enter it together, before anything is written, and leave it together, when the chief's files are there.
    """
    with tempfile.TemporaryDirectory() as elsewhere:
        own = folder if is_chief(devices) else Path(elsewhere)
        if own != folder and folder.exists():
            shutil.copytree(folder, own, dirs_exist_ok=True)
        _wait_for_all(devices)
        yield own
        _wait_for_all(devices)
