"""Who owns which points now: Benson's unconditional life and what KataGo counts beside it.

Source: D. Benson, "Life in the game of Go", Information Sciences 10 (1976), and the description of
KataGo's area features.
"""

from __future__ import annotations

from actx_katago.go.board import BLACK, WHITE, Board, Chain
from actx_katago.go.rules import Rules


def area(board: Board, rules: Rules) -> tuple[int, int]:
    """Black's and White's points, as KataGo's inputs show them in the main phase.

    Area scoring: pass-alive stones and territory, regions that border on one colour only, and all other
    stones. With a tax, connected areas that touch a neutral point or hold an own stone in atari are
    seki: only their stones count. Territory scoring shows nothing before the encore.
    """
    if rules.scoring == "TERRITORY":
        return 0, 0
    owned = _basic(board, rules.suicide)
    if rules.tax == "NONE":
        return owned
    _, black, white = board.stones
    neutral = board.empty & ~(owned[0] | owned[1])
    return (
        _without_seki(board, owned[0], BLACK, neutral) | owned[0] & black,
        _without_seki(board, owned[1], WHITE, neutral) | owned[1] & white,
    )


def _basic(board: Board, suicide: bool) -> tuple[int, int]:
    """Area with seki counted: what is alive, then empty regions of one colour, then stones as they stand."""
    alive = [0, *(pass_alive(board, colour, suicide) for colour in (BLACK, WHITE))]
    surrounded = _surrounded(board)
    _, black, white = board.stones
    # Black is claimed first, so of points that both would claim (there are none in play) Black's stay.
    of_black = alive[BLACK] | surrounded[BLACK] & ~alive[WHITE]
    of_white = (alive[WHITE] | surrounded[WHITE]) & ~of_black
    return of_black | black & ~of_white, of_white | white & ~of_black


def _surrounded(board: Board) -> list[int]:
    """Empty regions that border on stones of one colour only, by that colour."""
    found = [0, 0, 0]
    _, black, white = board.stones
    for region in board.grid.components(board.empty):
        border = board.grid.beside(region)
        if not border & white and border & black:
            found[BLACK] |= region
        elif not border & black and border & white:
            found[WHITE] |= region
    return found


def pass_alive(board: Board, colour: int, suicide: bool) -> int:
    """Stones of a colour that cannot be captured even if it always passes, with their territory.

    Territory is what these stones enclose with at most one point away from them. Where suicide of
    several stones is legal, an eye counts only if the opponent cannot fill it either.
    """
    own = board.stones[colour]
    if not own:
        return 0
    grid = board.grid
    regions = list(grid.components(grid.points ^ own))
    eyes = regions if suicide else [region & board.empty for region in regions]
    alive, healthy = list(board.chains(colour)), list(range(len(regions)))
    while True:
        kept = [chain for chain in alive if sum(not eyes[i] & ~chain.around for i in healthy) >= 2]
        stones = sum(chain.stones for chain in kept)
        if not kept:
            return 0
        still = [i for i in healthy if not grid.beside(regions[i]) & own & ~stones]
        if len(kept) == len(alive) and len(still) == len(healthy):
            break
        alive, healthy = kept, still
    beside = grid.beside(own)
    for i in healthy:
        inner = regions[i] & ~beside
        if not inner & (inner - 1):
            stones |= regions[i]
    return stones


def _without_seki(board: Board, owned: int, colour: int, neutral: int) -> int:
    grid = board.grid
    touched = grid.beside(neutral)
    in_atari = sum(chain.stones for chain in board.chains(colour) if _in_atari(board, chain))
    seki = touched | in_atari
    return sum(part for part in grid.components(owned) if not part & seki)


def _in_atari(board: Board, chain: Chain) -> bool:
    liberties = board.liberties(chain)
    return not liberties & (liberties - 1)
