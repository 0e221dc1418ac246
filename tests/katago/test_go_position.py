"""Ko and superko, passes, the button, bonuses, komi, stones set up, and rules by name."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actx_katago.go.board import BLACK, PASS, WHITE, bits, parse_board
from actx_katago.go.position import Position
from actx_katago.go.rules import NAMED, Rules, parse_rules


def at(text, rules, to_move=BLACK):
    board = parse_board(text)
    return Position.start(
        board.grid.width,
        board.grid.height,
        rules,
        black=board.stones[BLACK],
        white=board.stones[WHITE],
        to_move=to_move,
    )


def play(position, *names):
    for name in names:
        position = position.play(position.board.grid.point(name))
    return position


def banned(position):
    return sorted(position.board.grid.name(p) for p in bits(position.superko))


KO = """
    . X O . .
    X O . O .
    . X O . .
    . . . . .
    . . . . .
"""


def test_simple_ko_forbids_for_one_move():
    position = play(at(KO, Rules(ko="SIMPLE")), "C4")
    assert not position.legal(position.board.grid.point("B4"))
    position = play(position, "E1", "D1")
    assert position.legal(position.board.grid.point("B4"))


def small_games(games, moves, pass_rate, rules):
    """Random games on 3x3, where boards come back: position, what was before as (stones, to move, pass)."""
    rng = random.Random(3)
    for game in range(games):
        position = Position.start(3, 3, rules(game))
        past = []
        for _ in range(moves):
            yield position, past
            legal = [p for p in bits(position.board.empty) if position.legal(p)]
            point = rng.choice(legal) if legal and rng.random() > pass_rate else PASS
            past.append((tuple(position.board.stones), position.to_move, point == PASS))
            position = position.play(point)


def test_superko_bans_what_repeats_and_nothing_else():
    bans = 0
    kinds = ("POSITIONAL", "SITUATIONAL")
    games = small_games(60, 60, 0.1, lambda game: Rules(ko=kinds[game % 2], suicide=game % 3 > 0))
    for position, past in games:
        seen = {(stones, to_move) for stones, to_move, _ in past}
        seen.add((tuple(position.board.stones), position.to_move))
        wrong = set()
        for p in bits(position.board.empty):
            if position.board.legal(p, position.to_move, position.rules.suicide):
                later = position.play(p)
                stones = tuple(later.board.stones)
                movers = (1, 2) if position.rules.ko == "POSITIONAL" else (later.to_move,)
                if any((stones, mover) in seen for mover in movers):
                    wrong.add(p)
        assert set(bits(position.superko)) == wrong
        bans += len(wrong)
    assert bans > 50


def test_under_simple_ko_passing_again_in_a_position_ends_the_phase():
    found = 0
    for position, past in small_games(40, 60, 0.3, lambda _: Rules(ko="SIMPLE")):
        now = (tuple(position.board.stones), position.to_move, True)
        again = now in past
        assert position.pass_ends_phase == (again or bool(past and past[-1][2]))
        found += again and not past[-1][2]
    assert found > 10


def test_situational_superko_lets_the_other_player_make_the_board():
    # Black takes, White passes, Black passes: now White may take back under situational superko only if
    # the board with Black to move is new. It is the first board, where Black was to move.
    for ko, expected in (("POSITIONAL", ["B4"]), ("SITUATIONAL", ["B4"])):
        assert banned(play(at(KO, Rules(ko=ko)), "C4", "pass", "pass")) == expected
    first = at(KO, Rules(ko="SITUATIONAL"), to_move=WHITE)
    assert banned(play(first, "pass", "C4", "pass", "pass")) == ["B4"]
    assert banned(play(first.play(first.board.grid.point("C4"), BLACK), "pass", "pass")) == []
    positional = at(KO, Rules(ko="POSITIONAL"), to_move=WHITE)
    assert banned(
        play(positional.play(positional.board.grid.point("C4"), BLACK), "pass", "pass")
    ) == ["B4"]


def test_taking_the_button_clears_what_superko_remembers():
    with_button = at(KO, Rules(button=True))
    without = at(KO, Rules())
    assert banned(play(without, "C4", "pass", "pass")) == ["B4"]
    position = play(with_button, "C4", "pass", "pass")
    assert banned(position) == []
    assert not position.button


def test_the_button_is_half_a_point_for_the_first_pass_and_ends_nothing():
    position = Position.start(5, 5, Rules(button=True, komi=6.0))
    assert position.self_komi() == -6.0
    after = position.play(PASS)
    assert after.bonus == -0.5
    assert after.self_komi() == 5.5
    assert not after.pass_ends_phase
    second = after.play(PASS)
    assert second.pass_ends_phase
    assert not second.over
    assert second.play(PASS).over
    white = position.play(0).play(PASS)
    assert white.bonus == 0.5


def test_two_passes_end_the_phase_and_a_move_between_does_not():
    position = play(Position.start(5, 5), "C3", "pass", "A1", "pass")
    assert position.pass_ends_phase
    assert not position.over
    assert position.play(PASS).over
    assert not play(position, "B2").pass_ends_phase
    # A game under area scoring may go on, and is judged anew.
    assert not play(position, "pass", "B2").over
    territory = play(Position.start(5, 5, Rules(scoring="TERRITORY")), "pass", "pass", "B2")
    assert territory.over


def test_moves_and_boards_shown_are_the_latest():
    position = play(Position.start(5, 5), "A1", "B1", "C1", "D1", "E1", "A3", "pass")
    point = position.board.grid.point
    assert position.moves == tuple(
        zip((1, 2, 1, 2, 1), (*map(point, ("C1", "D1", "E1", "A3")), PASS), strict=True)
    )
    assert [b.stones[1].bit_count() + b.stones[2].bit_count() for b in position.boards] == [6, 5]
    assert position.turn == 7


def test_territory_scoring_pays_for_stones_played():
    rules = Rules("SIMPLE", "TERRITORY", "SEKI", suicide=False, komi=6.5)
    position = play(Position.start(5, 5, rules), "A1")
    assert position.self_komi() == 7.5
    position = play(position, "B1")
    assert position.self_komi() == -6.5
    position = play(position, "pass")
    assert position.self_komi() == 6.5
    position = play(position, "C1")
    assert position.self_komi() == -5.5


@pytest.mark.parametrize(
    ("bonus", "stones", "expected"), [("0", 3, 0), ("N", 3, 3), ("N-1", 3, 2), ("N", 1, 0)]
)
def test_handicap_stones_bring_a_bonus(bonus, stones, expected):
    rules = Rules(handicap_bonus=bonus, komi=0.5)
    position = Position.start(9, 9, rules, black=(1 << 2 * stones) // 3, to_move=WHITE)
    assert position.board.stones[BLACK].bit_count() == stones
    assert position.self_komi() == 0.5 + expected
    both = Position.start(9, 9, rules, black=0b101, white=1 << 40)
    assert both.bonus == 0


def test_territory_scoring_pays_for_handicap_stones():
    japanese = NAMED["japanese"]
    assert Position.start(9, 9, japanese, black=0b101, to_move=WHITE).self_komi() == 8.5
    assert Position.start(9, 9, japanese, black=0b101, white=1 << 40).bonus == 1


def test_a_draw_counts_only_where_it_can_happen():
    for komi, button, moves in (
        (7.0, False, True),
        (7.5, False, False),
        (7.0, True, False),
        (7.5, True, True),
    ):
        position = Position.start(5, 5, Rules(komi=komi, button=button), to_move=WHITE)
        assert position.self_komi(0.75) == komi + (0.25 if moves else 0)


def test_setting_stones_up_cuts_the_history_but_not_the_score():
    rules = Rules("SIMPLE", "TERRITORY", "SEKI", suicide=False)
    position = play(Position.start(5, 5, rules), "A1", "B1", "C1")
    edited = position.set_up(black=1 << 12, white=0, empty=1 << 20, to_move=BLACK)
    assert edited.moves == ()
    assert edited.boards == ()
    assert edited.turn == 3
    assert edited.bonus == position.bonus, "one black stone came, another went"
    assert (
        position.set_up(black=1 << 12, white=1 << 13 | 1 << 14, empty=0).bonus == position.bonus - 1
    )
    area_scored = play(Position.start(5, 5), "A1").set_up(black=1 << 12, white=0, empty=0)
    assert area_scored.bonus == 0
    assert edited.to_move == BLACK
    assert str(edited.board).splitlines()[2] == ". . X . ."
    assert str(edited.board).splitlines()[4] == ". O X . ."
    with pytest.raises(ValueError, match="expected liberties"):
        edited.set_up(black=edited.board.grid.points & ~1, white=1, empty=0)


def test_illegal_moves_are_refused_and_broken_ko_is_not():
    position = play(at(KO, Rules(ko="SIMPLE")), "C4")
    assert play(position, "B4").board.stones[WHITE]
    with pytest.raises(ValueError, match="expected an empty point, found a stone on C4"):
        play(position, "C4")
    with pytest.raises(ValueError, match="expected a point of the board, found number 25"):
        position.play(25)
    with pytest.raises(ValueError, match="found suicide of one stone at A3"):
        play(at(". X .\nX . .\n. . .", Rules()).with_to_move(WHITE), "A3")


def test_numpy_integers_are_points_too():
    numpy = pytest.importorskip("numpy")
    position = Position.start(19, 19).play(numpy.int64(300))
    assert position.board.stones[BLACK] == 1 << 300
    assert not position.legal(numpy.int64(300))


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", Rules()),
        ("Japanese", Rules("SIMPLE", "TERRITORY", "SEKI", suicide=False, komi=6.5)),
        ("Tromp-Taylor", Rules()),
        ("chinese_kgs", Rules("POSITIONAL", suicide=False, handicap_bonus="N")),
        ("Chinese rules", Rules("SIMPLE", suicide=False, handicap_bonus="N")),
        ("AGA", Rules("SITUATIONAL", suicide=False, handicap_bonus="N-1")),
        ("New Zealand", Rules("SITUATIONAL")),
        (
            "koSITUATIONALscoreAREAtaxSEKIsui1button1",
            Rules("SITUATIONAL", "AREA", "SEKI", True, True),
        ),
        ("koSIMPLEscoreTERRITORYtaxALLsui0", Rules("SIMPLE", "TERRITORY", "ALL", False)),
        (
            "koSIMPLEscoreAREAtaxNONEsui0whbN-1fpok1",
            Rules("SIMPLE", suicide=False, handicap_bonus="N-1"),
        ),
        ("koSIMPLEscoreAREAtaxNONEsui0komi-5.5", Rules("SIMPLE", suicide=False, komi=-5.5)),
        (
            '{"hasButton":false,"ko":"SIMPLE","scoring":"AREA","suicide":false,"tax":"ALL",'
            '"whiteHandicapBonus":"N","friendlyPassOk":true}',
            Rules("SIMPLE", "AREA", "ALL", False, False, "N"),
        ),
    ],
)
def test_rules_are_read_as_they_are_written(text, rules):
    assert parse_rules(text) == rules


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("martian", "expected rules that are known .*found 'martian'"),
        (
            "koSPIGHTscoreAREAtaxNONEsui0",
            "expected ko to be SIMPLE or POSITIONAL or SITUATIONAL, found 'SPIGHT'",
        ),
        ("koSIMPLEscoreTERRITORYtaxNONEsui0button1", "no button under territory scoring"),
        ('{"ko":"SIMPLE","suicide":1}', "expected suicide to be true or false, found 1"),
        ('{"ko":', "expected rules as JSON"),
        ('{"dots":true}', "expected KataGo's parts of rules, found dots"),
        ('{"komi":"x"}', "could not convert"),
        ("koSIMPLEscoreAREAtaxNONEsui0komi1000", "within 150, found 1000"),
    ],
)
def test_unknown_rules_are_refused(text, says):
    with pytest.raises(ValueError, match=says):
        parse_rules(text)


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_rules(text):
    try:
        assert isinstance(parse_rules(text), Rules)
    except ValueError as error:
        assert str(error)  # noqa: PT017 (either is right)


def test_names_are_written_as_they_are_looked_up():
    assert all(name.isalpha() and name.islower() for name in NAMED)
