"""What a sampler and a model ask of rules that restrict conditionals; `chainrule.rules` has them."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from chainrule.conditionals import Conditional

__all__ = ["Restriction"]


class Restriction(Protocol):
    """What restricts some columns of a row, given the others."""

    @property
    def columns(self) -> frozenset[int]:
        """The numbers of the columns that are ever restricted."""
        ...

    def log_conditionals(
        self,
        log_probs: Tensor,
        x: Tensor,
        outputs: Tensor,
        observed: Tensor,
        query: Tensor,
        present: Tensor,
        order: Tensor,
    ) -> Tensor:
        """Return log-conditionals (n, D) within what is allowed, from those without restriction.

        Parameters
        ----------
        log_probs : Tensor (n, D)
        x : Tensor (n, D)
            Codes; those neither observed nor in the query have no effect.
        outputs : Tensor (n, n_outputs)
            The params behind the log-conditionals.
        observed, query : Tensor, bool (n, D)
        present : Tensor, bool (n, D)
            What is not missing: these two, and what is not asked for.
        order : Tensor (D,)
            In which the query's variables come.
        """
        ...

    def draw(self, d: int, params: Tensor, uniforms: Tensor, rows: Tensor, seen: Tensor) -> Tensor:
        """Return draws of variable d (n,) that are allowed, from params (n, P_d) and uniforms (n, U).

        Parameters
        ----------
        rows : Tensor (n, D)
            Codes, of which those that are seen count.
        seen : Tensor, bool (n, D)
        """
        ...

    def family(self, d: int) -> Conditional:
        """Return the family of variable d within what is allowed."""
        ...

    def params(self, d: int, params: Tensor, rows: Tensor, seen: Tensor) -> Tensor:
        """Return the params of that family, float64 on the CPU, from those without restriction (n, P_d).

        Parameters
        ----------
        rows : Tensor (n, D)
            Codes, of which those that are seen count. All others are there, but not known.
        seen : Tensor, bool (n, D)
        """
        ...

    def check(self, codes: Tensor, what: str) -> None:
        """Refuse rows of codes (n, D), NaN where missing, that are not allowed; `what` they are."""
        ...

    def check_given(self, codes: Tensor) -> None:
        """Refuse rows of codes (n, D), NaN where missing, that are not allowed or cannot be completed."""
        ...
