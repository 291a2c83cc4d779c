"""Losses that compare embeddings: what several methods share. Each is its equation, computed by matrices.

cross_modal       MESEN, equations 2 to 4      the same row of the other modality, among all rows of the other
prototypes        MESEN, equation 6            the same column of the other modality, among all columns of both
entropy           MESEN, equation 7's L_PR     how evenly a batch is spread over the pseudo-classes
many_positives    Cosmo, equation 4            all other views of the same row, among all views of all rows
two_views         SimCLR, equation 1           the other view of the same row, among all views of all rows
against_queue     MoCo, equation 1             the other view of the same row, among rows of earlier steps
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def cross_modal(a: Tensor, b: Tensor, temperature: float, weights: tuple[float, float] = (0.5, 0.5)) -> Tensor:
    """The cross-modal feature contrast of MESEN, equations 2 to 4.

        L(a -> b)_i = -log  exp(a_i b_i / tau) / sum_j exp(a_i b_j / tau)
        L = 1/N sum_i (alpha L(a -> b)_i + beta L(b -> a)_i)

    Rows of the same modality are never compared with each other: each keeps a space of its own.

    Args:
        a: of one modality, rows of length 1, shape (n, d).
        b: of the other, the same instants in the same order, shape (n, d).
        temperature: tau.
        weights: alpha and beta.
    """
    likeness = a @ b.T / temperature
    same = torch.arange(len(a), device=a.device)
    alpha, beta = weights
    return alpha * functional.cross_entropy(likeness, same) + beta * functional.cross_entropy(likeness.T, same)


def prototypes(p: Tensor, q: Tensor, temperature: float) -> Tensor:
    """The pseudo-classification aligning of MESEN, equation 6, averaged over the 2 K columns as in equation 7.

        L(p)_i = -log  exp(s(p_i, q_i) / tau) / (exp(s(p_i, q_i) / tau) + sum_(j != i) exp(s(p_i, p_j) / tau)
                                                                         + sum_(j != i) exp(s(p_i, q_j) / tau))

    Here p_i is a column: which windows of the batch fall into pseudo-class i. The likeness s is the cosine, as in
    Contrastive Clustering, whose loss it is: a plain product would grow with the batch. Equation 6 prints q_i and q_j
    for the positive; it has to be the same column of both.

    Args:
        p: probabilities by one modality, shape (n, K).
        q: by the other, shape (n, K).
        temperature: tau.
    """
    return two_views(p.T, q.T, temperature)


def entropy(p: Tensor) -> Tensor:
    """H = -sum_i P_i log P_i of the batch's mean assignment, from 0 (all in one class) to log K.

    Args:
        p: probabilities, shape (n, K).
    """
    mean = p.mean(0)
    return -(mean * mean.clamp_min(torch.finfo(p.dtype).tiny).log()).sum()


def evenness(p: Tensor) -> Tensor:
    """Log K - H: 0 where a batch is spread evenly, never below."""
    return math.log(p.shape[1]) - entropy(p)


def many_positives(views: Tensor, temperature: float) -> Tensor:
    """The contrastive fusion loss of Cosmo, equation 4, as a mean over anchors.

        L = 1/(P N) sum_s  -1/(P - 1) sum_(p in P(s)) log  exp(v_s v_p / tau) / sum_(a != s) exp(v_s v_a / tau)

    P(s) are the other views of the same window. The paper sums over the anchors, the released code takes the mean;
    so does this, which makes the rate independent of the batch.

    Args:
        views: rows of length 1, shape (P, n, d): P views of each of n windows.
        temperature: tau.
    """
    n_views, n, _ = views.shape
    rows = views.flatten(0, 1)
    itself = torch.eye(n_views * n, dtype=torch.bool, device=rows.device)
    logs = functional.log_softmax((rows @ rows.T / temperature).masked_fill(itself, -torch.inf), 1)
    window = torch.arange(n, device=rows.device).repeat(n_views)
    positive = (window[:, None] == window[None, :]) & ~itself
    return -logs[positive].mean()


def two_views(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """NT-Xent, SimCLR's equation 1: the other view of the same row against all other rows of both.

    Args:
        a: first views, shape (n, d); of any length, as the likeness is the cosine.
        b: second views, shape (n, d).
        temperature: tau.
    """
    return many_positives(functional.normalize(torch.stack([a, b]), dim=2), temperature)


def against_queue(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """InfoNCE, MoCo's equation 1: the other view of the same row against rows that are kept from earlier.

        L = 1/N sum_i -log  exp(q_i k_i / tau) / (exp(q_i k_i / tau) + sum_n exp(q_i queue_n / tau))

    Args:
        q: rows of length 1, shape (n, d).
        k: their other views, shape (n, d).
        queue: shape (n_kept, d).
        temperature: tau.
    """
    likeness = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / temperature
    return functional.cross_entropy(likeness, torch.zeros(len(q), dtype=torch.long, device=q.device))
