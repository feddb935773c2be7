"""Neural networks, evaluated with numpy in double precision: weights from safetensors, their shape from JSON.

PyTorch trains them (in single precision) but isn't needed to score; the weights have its names and layouts.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from .predictor import BLOCK, Predictor, by_row, logistic
from .scaling import scaling_from

WEIGHTS, NETWORK = "weights.safetensors", "network.json"
Tensors = dict[str, np.ndarray]


def load_mlp(files: Mapping[str, bytes]) -> Predictor:
    network, tensors = read(files)
    scale = scaling_from(network)
    return by_row(lambda x: output(mlp(scale(x), tensors, network["layers"]), tensors, network))


def load_sequence(files: Mapping[str, bytes]) -> Predictor:
    network, tensors = read(files)
    scale, steps = scaling_from(network), int(network["steps"])

    def score(x: np.ndarray, previous: np.ndarray) -> np.ndarray:
        scores = np.full(len(x), np.nan)
        path = walk_back(previous, steps)
        whole = path[path[:, 0] >= 0]
        for rows in (whole[start : start + BLOCK] for start in range(0, len(whole), BLOCK)):
            # The paths of a block share most of their rows, so each row goes through the input layer once.
            needed, place = np.unique(rows, return_inverse=True)
            given = affine(scale(x[needed]), tensors["gru.weight_ih_l0"], tensors["gru.bias_ih_l0"])
            state = gru([given[at] for at in place.reshape(rows.shape).T], tensors, network["layers"])
            scores[rows[:, -1]] = output(state, tensors, network)
        return scores

    return Predictor(score, steps)


def read(files: Mapping[str, bytes]) -> tuple[dict[str, Any], Tensors]:
    from safetensors.numpy import load

    tensors = {name: tensor.astype("float64") for name, tensor in load(files[WEIGHTS]).items()}
    return json.loads(files[NETWORK]), tensors


def walk_back(previous: np.ndarray, steps: int) -> np.ndarray:
    """Rows × steps: each row's own number last, the rows before it to the left, -1 where there is none."""
    path = np.empty((len(previous), steps), dtype="int64")
    path[:, -1] = np.arange(len(previous))
    for step in range(steps - 2, -1, -1):
        later = path[:, step + 1]
        path[:, step] = np.where(later >= 0, previous[later], -1)
    return path


def mlp(z: np.ndarray, tensors: Tensors, layers: int) -> np.ndarray:
    for layer in range(layers):
        z = np.maximum(affine(z, tensors[f"hidden.{layer}.weight"], tensors[f"hidden.{layer}.bias"]), 0.0)
    return z


def gru(given: list[np.ndarray], tensors: Tensors, layers: int) -> np.ndarray:
    """Last state of a gated recurrent unit (Cho et al. 2014) that starts at zero, with PyTorch's order of gates.

    Args:
        given: for each step the first layer's inputs times its input weights, rows × (3 · hidden).
    """
    states = gru_layer(given, tensors["gru.weight_hh_l0"], tensors["gru.bias_hh_l0"])
    for layer in range(1, layers):
        weight, bias = tensors[f"gru.weight_ih_l{layer}"], tensors[f"gru.bias_ih_l{layer}"]
        given = [affine(state, weight, bias) for state in states]
        states = gru_layer(given, tensors[f"gru.weight_hh_l{layer}"], tensors[f"gru.bias_hh_l{layer}"])
    return states[-1]


def gru_layer(given: list[np.ndarray], weight: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    states, state = [], np.zeros((len(given[0]), weight.shape[1]))
    for step in given:
        reset_in, update_in, new_in = np.split(step, 3, axis=1)
        reset_state, update_state, new_state = np.split(affine(state, weight, bias), 3, axis=1)
        update = logistic(update_in + update_state)
        new = np.tanh(new_in + logistic(reset_in + reset_state) * new_state)
        state = (1 - update) * new + update * state
        states.append(state)
    return states


def output(z: np.ndarray, tensors: Tensors, network: dict[str, Any]) -> np.ndarray:
    """Probability of a classifier; forecast of a regression, brought back to its target's own scale."""
    value = affine(z, tensors["output.weight"], tensors["output.bias"])[:, 0]
    if network["form"] == "classification":
        return logistic(value)
    return value * float(network["target_spread"]) + float(network["target_mean"])


def affine(z: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    # BLAS may round a row differently when others stand beside it. In double precision and through layers that
    # squash, that stays near 1e-16, and sums in a fixed order (see `linear`) would take ten times as long.
    return np.asarray(z @ weight.T + bias)
