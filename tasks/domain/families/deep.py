"""Neural networks trained by PyTorch: in single precision, on a GPU if there is one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np

from tasks.domain.errors import UsageError
from tasks.domain.families import scaling
from tasks.domain.families.sample import Sample
from tasks.domain.inference.deep import NETWORK, WEIGHTS, walk_back


def mlp(parameters: dict[str, Any], sample: Sample, seed: int, num_threads: int) -> dict[str, bytes]:
    """A multilayer perceptron over one row."""
    return fit(parameters, sample, np.arange(len(sample.x))[:, None], seed)


def sequence(parameters: dict[str, Any], sample: Sample, seed: int, num_threads: int) -> dict[str, bytes]:
    """A gated recurrent unit (Cho et al. 2014) over the newest `steps` rows of an instrument.

    Raises:
        UsageError: no row with a target has that many rows behind it.
    """
    path = walk_back(sample.previous, parameters["steps"])
    whole = path[(path[:, 0] >= 0) & sample.known]
    if not len(whole):
        raise UsageError(f"sequence: no row has {parameters['steps']} rows of history; lower steps or bring more bars")
    return fit(parameters, sample, whole, seed)


def fit(parameters: dict[str, Any], sample: Sample, path: np.ndarray, seed: int) -> dict[str, bytes]:
    """Train on the rows `path` leads over (examples × steps, the scored row last); the same on every machine's CPU.

    The target is standardised, or 0 and 1 for a classifier. AdamW (Loshchilov and Hutter 2019) with a fixed number of
    epochs: how many is a hyper-parameter like any other, so no row has to be kept back to tell when to stop.
    """
    torch = imported()
    last = path[:, -1]
    scale = scaling.learn(sample.x[last])
    target, spread, centre = aimed(parameters["form"], sample.y[last])
    weight = np.ones(len(last)) if sample.weight is None else sample.weight[last] / sample.weight[last].mean()
    with repeatable(torch, seed):
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        data = (scaling.apply(scale, sample.x, "float32"), path, target.astype("float32"), weight.astype("float32"))
        network = built(torch, parameters, sample.x.shape[1]).to(device)
        train(torch, network, parameters, *(torch.from_numpy(part).to(device) for part in data))
    tensors = {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()}
    content = scale.as_lists() | {"target_mean": centre, "target_spread": spread}
    content |= {name: parameters[name] for name in ("form", "layers", "steps") if name in parameters}
    return {WEIGHTS: as_safetensors(tensors), NETWORK: json.dumps(content).encode()}


def aimed(form: str, y: np.ndarray) -> tuple[np.ndarray, float, float]:
    """What the network is trained to say, and the factor and shift back to the target's own scale."""
    if form == "classification":
        return y > 0, 1.0, 0.0
    spread, centre = float(y.std()) or 1.0, float(y.mean())
    return (y - centre) / spread, spread, centre


def built(torch: Any, parameters: dict[str, Any], features: int) -> Any:
    """The layers by the names under which their weights are stored; recurrent where there are steps."""
    nn, hidden, layers = torch.nn, parameters["hidden"], parameters["layers"]
    if "steps" in parameters:
        body = {"gru": nn.GRU(features, hidden, layers, batch_first=True)}
    else:
        widths = [features] + layers * [hidden]
        body = {"hidden": nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))}
    return nn.ModuleDict(body | {"output": nn.Linear(hidden, 1)})


def forward(torch: Any, network: Any, windows: Any, dropout: float) -> Any:
    """Examples × steps × features to one number for each example."""
    functional = torch.nn.functional
    if "gru" in network:
        z = functional.dropout(network["gru"](windows)[0][:, -1], dropout)
    else:
        z = windows[:, -1]
        for layer in network["hidden"]:
            z = functional.dropout(functional.relu(layer(z)), dropout)
    return network["output"](z)[:, 0]


def train(torch: Any, network: Any, parameters: dict[str, Any], rows: Any, path: Any, target: Any, weight: Any) -> None:
    functional = torch.nn.functional
    classification = parameters["form"] == "classification"
    loss = functional.binary_cross_entropy_with_logits if classification else functional.mse_loss
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=parameters["learning_rate"], weight_decay=parameters["weight_decay"]
    )
    for _ in range(parameters["epochs"]):
        for batch in torch.randperm(len(path)).to(path.device).split(parameters["batch_size"]):
            said = forward(torch, network, rows[path[batch]], parameters["dropout"])
            optimiser.zero_grad()
            (weight[batch] * loss(said, target[batch], reduction="none")).mean().backward()
            optimiser.step()


def imported() -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        raise UsageError("the deep families need the optional extra `deep` (`make deep`)") from None
    return torch


def as_safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    return bytes(save(tensors))


@contextmanager
def repeatable(torch: Any, seed: int) -> Iterator[None]:
    """Equal seeds give equal weights: one thread, deterministic kernels; leaves PyTorch as it was found."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        try:
            torch.set_num_threads(1)
            torch.use_deterministic_algorithms(True)
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
