"""Game records: what is read, where errors are, and the same games as sgfmill reads."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actx_core import SourceError
from actx_katago.go.board import BLACK, PASS, WHITE, bits
from actx_katago.go.game import Move, Setup, read_sgf
from actx_katago.go.rules import NAMED, Rules
from actx_katago.go.sgf import unescape

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "katago"


@pytest.fixture
def games(tmp_path):
    def read(text, **options):
        path = tmp_path / "games.sgf"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_sgf(path, **options)

    return read


def shown(game, turn=-1):
    return str(list(game.positions())[turn].board).splitlines()


def test_a_whole_game(games):
    (game,) = games(
        "(;FF[4]GM[1]SZ[5]KM[6.5]RU[Japanese]PB[Ann]PW[Bea \\[9p\\]]RE[B+3.5]GN[Final]DT[2020-01-01]\n"
        ";B[aa];W[ba]\n;B[];W[ee])"
    )
    assert (game.width, game.height, game.index) == (5, 5, 0)
    assert (game.black, game.white, game.result, game.name) == ("Ann", "Bea [9p]", "B+3.5", "Final")
    assert game.rules == Rules("SIMPLE", "TERRITORY", "SEKI", suicide=False, komi=6.5)
    assert game.moves == (
        Move(BLACK, 0, 2),
        Move(WHITE, 1, 2),
        Move(BLACK, PASS, 3),
        Move(WHITE, 24, 3),
    )
    positions = list(game.positions())
    assert [p.turn for p in positions] == [0, 1, 2, 3, 4]
    assert [p.to_move for p in positions] == [BLACK, WHITE, BLACK, WHITE, BLACK]
    assert shown(game)[0] == "X O . . ."
    assert [p.turn for p in game.positions(every=2, start=1)] == [1, 3]
    assert game.hash == ""


def test_katagos_comment_names_the_game(games):
    (game,) = games(
        "(;SZ[9]C[startTurnIdx=0,gameHash=d2A7F426587598A7C04C42AC6A8E3B52,gtype=normal])"
    )
    assert game.hash == "D2A7F426587598A7C04C42AC6A8E3B52"


def test_games_that_begin_in_the_encore_have_no_positions(games):
    (game,) = games("(;SZ[9]RU[japanese]C[gtype=cleanuptraining,beganInEncorePhase=2];B[aa];W[bb])")
    assert game.encore
    assert game.turns() == []
    assert list(game.positions()) == []


def test_boards_of_every_shape(games):
    (game,) = games("(;SZ[9:7];B[ig])")
    assert (game.width, game.height) == (9, 7)
    assert game.moves[0].point == 6 * 9 + 8
    assert games("(;B[ss])")[0].width == 19
    assert games("(;SZ[2];B[bb])")[0].moves[0].point == 3


@pytest.mark.parametrize("size", ["20", "1", "0", "x", "9:", "9:20", "-5", "9x9", "1000000000"])
def test_other_boards_are_refused(games, size):
    with pytest.raises(SourceError, match=rf"expected a board of 2x2 to 19x19, found SZ\[{size}\]"):
        games(f"(;SZ[{size}];B[aa])")


def test_passes_are_empty_or_tt(games):
    (game,) = games("(;SZ[19];B[tt];W[];B[sa])")
    assert [move.point for move in game.moves] == [PASS, PASS, 18]


def test_handicap_stones_let_white_begin(games):
    text = "(;SZ[9]HA[2]RU[chinese]KM[0.5]AB[gc][cg];W[ee])"
    (game,) = games(text)
    first = next(game.positions())
    assert first.to_move == WHITE
    assert first.bonus == 2
    assert first.board.stones[BLACK].bit_count() == 2
    assert game.handicap == 2
    assert next(games(text.replace(";W[ee]", ""))[0].positions()).to_move == WHITE
    assert next(games("(;SZ[9]AB[gc]PL[W])")[0].positions()).to_move == WHITE
    assert next(games("(;SZ[9]AB[gc]AW[cg])")[0].positions()).to_move == BLACK
    # Stones set up in a node of their own before the first move are no later edit.
    apart = games("(;SZ[9]HA[2]RU[chinese];AB[gc][cg];W[ee])")[0]
    assert next(apart.positions()).bonus == 2
    assert len(apart.steps) == 1


def test_points_may_be_rectangles(games):
    (game,) = games("(;SZ[5]AB[aa:bb]AW[cc:cc][ee])")
    assert set(bits(game.start.black)) == {0, 1, 5, 6}
    assert set(bits(game.start.white)) == {12, 24}


def test_stones_set_up_in_the_middle_cut_the_history(games):
    (game,) = games("(;SZ[5];B[aa];W[bb];AB[cc]AE[aa]PL[B];B[dd])")
    assert isinstance(game.steps[2], Setup)
    positions = {p.turn: p for p in game.positions()}
    assert sorted(positions) == [0, 1, 2, 3]
    assert positions[2].moves == ()
    assert positions[2].to_move == BLACK
    assert shown(game, 2) == [". . . . .", ". O . . .", ". . X . .", ". . . . .", ". . . . ."]
    assert positions[3].moves == ((BLACK, 18),)


def test_one_player_may_move_twice(games):
    (game,) = games("(;SZ[5];B[aa];B[bb];W[cc])")
    assert [p.to_move for p in game.positions()] == [BLACK, BLACK, WHITE, BLACK]


def test_the_main_line_is_the_first_variation(games):
    (game,) = games("(;SZ[9];B[aa](;W[bb];B[cc](;W[dd])(;W[de]))(;W[ee];B[ff]))")
    assert [game_name(game, m.point) for m in game.moves] == ["A9", "B8", "C7", "D6"]


def game_name(game, point):
    from actx_katago.go.board import grid

    return grid(game.width, game.height).name(point)


def test_positions_after_the_end_are_left_out(games):
    (game,) = games("(;SZ[5]RU[japanese];B[aa];W[bb];B[];W[];B[cc])")
    assert game.turns() == [0, 1, 2, 3]
    assert [p.turn for p in game.positions()] == [0, 1, 2, 3]
    (area,) = games("(;SZ[5]RU[chinese];B[aa];W[bb];B[];W[];B[cc])")
    assert area.turns() == [0, 1, 2, 3, 5], "under area scoring a game may go on"
    assert games("(;SZ[5];B[aa];W[];B[bb])")[0].turns() == [0, 1, 2, 3]


def test_several_games_in_a_file_keep_their_lines(games):
    first, second = games("(;SZ[5];B[aa])\n\n(;SZ[9]\n;B[bb])\n")
    assert (first.index, second.index) == (0, 1)
    assert first.where.endswith("games.sgf:1")
    assert second.where.endswith("games.sgf:3")
    assert second.moves[0].line == 4


def test_rules_and_komi_default_and_can_be_given(games):
    assert games("(;SZ[9])")[0].rules == Rules()
    assert games("(;SZ[9]RU[korean])")[0].rules.komi == 6.5
    assert games("(;SZ[9]KM[-3.5])")[0].rules.komi == -3.5
    given = games("(;SZ[9]RU[mars]KM[3.75])", rules=NAMED["aga"], komi=0.5)[0].rules
    assert given == Rules("SITUATIONAL", suicide=False, handicap_bonus="N-1", komi=0.5)
    assert games("(;SZ[9]KM[5.5])", rules=NAMED["aga"])[0].rules.komi == 5.5


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "shift_jis", "latin-1", "big5"])
def test_names_in_their_encoding(games, encoding):
    name = "Jérôme" if encoding == "latin-1" else "本因坊" if encoding != "big5" else "功"
    (game,) = games(f"(;CA[{encoding}]SZ[9]PB[{name}];B[aa])".encode(encoding))
    assert game.black == name
    assert game.moves[0].point == 0


def test_bytes_without_an_encoding_are_utf_8_or_latin_1(games):
    assert games("(;SZ[9]PB[本因坊])")[0].black == "本因坊"
    assert games("\ufeff(;SZ[9]PB[本])")[0].black == "本"
    assert games("(;SZ[9]PB[J\xe9r])".encode("latin-1"))[0].black == "Jér"
    assert games(b"(;CA[nonsense]SZ[9]PB[x])")[0].black == "x"
    assert games(b"(;CA[rot13]SZ[9]PB[x])")[0].black == "x"


def test_values_are_unescaped():
    assert unescape("a\\]b\\\\c\\\nd") == "a]b\\cd"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", None, "expected games, found an empty file"),
        (" \n ", None, "expected games, found an empty file"),
        ("hello", 1, "expected a game in SGF, found 'hello'"),
        ("(;SZ[9]\n;B[aa]\n", 1, "found one that does not end"),
        ("(;SZ[9]\n;B[aa", 1, "found one that does not end"),
        ("(;SZ[9];B[aa]))", 1, "expected a game in SGF, found '\\)'"),
        ("(;SZ[9])\n(SZ[9])", 2, "found 'SZ\\[9\\]\\)'"),
        ("(;SZ[9];B)", 1, "found '\\)'"),
        ("(;SZ[9]\n;B[aa]\n;W[bb]{x};B[cc])", 3, "found '{x};B\\[cc\\]\\)'"),
        ("(;SZ[9];B[aa];\n[bb])", 2, "found '\\[bb\\]\\)'"),
        ("()", 1, "found '\\)'"),
        ("(;GM[2]SZ[9])", 1, "game 1: expected a game of Go \\(GM\\[1\\]\\), found GM\\[2\\]"),
        (
            "(;SZ[9])\n(;SZ[9]\n;B[aa]\n;W[jj])",
            4,
            "game 2: expected a point of the 9x9 board, found \\[jj\\]",
        ),
        ("(;SZ[9];B[AA])", 1, "found \\[AA\\]"),
        ("(;SZ[9];B[a])", 1, "found \\[a\\]"),
        ("(;SZ[9];B[aa][bb])", 1, "expected one move, found 2"),
        ("(;SZ[9]RU[martian])", 1, "game 1: expected rules that are known"),
        ("(;SZ[9]KM[3.75])", 1, "expected a komi in whole or half points within 150, found 3.75"),
        ("(;SZ[9]KM[nan])", 1, "expected a number, found KM\\[nan\\]"),
        ("(;SZ[9]KM[1e400])", 1, "expected a number, found KM\\[1e400\\]"),
        ("(;SZ[9]HA[x])", 1, "expected a number, found HA\\[x\\]"),
        ("(;SZ[9]PL[red])", 1, "expected PL\\[B\\] or PL\\[W\\], found PL\\[R\\]"),
        ("(;SZ[9]AB[aa]AW[aa])", 1, "expected AB, AW and AE to differ"),
        ("(;SZ[9]AB[tt])", 1, "found \\[tt\\]"),
    ],
)
def test_damaged_files_are_one_line_with_a_place(games, text, line, says):
    with pytest.raises(SourceError, match=says) as caught:
        games(text)
    error = caught.value
    assert "\n" not in error.message
    assert error.hint or text.strip() == ""
    assert error.where.endswith("games.sgf" if line is None else f"games.sgf:{line}")


def test_illegal_moves_are_named_when_they_are_reached(games):
    (game,) = games("(;SZ[9]\n;B[aa]\n;W[aa]\n;B[bb])")
    positions = game.positions()
    assert next(positions).turn == 0
    assert next(positions).turn == 1
    with pytest.raises(
        SourceError, match="game 1: move 2: expected an empty point, found a stone on A9"
    ) as caught:
        next(positions)
    assert caught.value.where.endswith("games.sgf:3")
    (game,) = games("(;SZ[3]AB[aa][ab][bb]AW[ba][ca])")
    (bad,) = games("(;SZ[2]AB[aa][ab][ba][bb])")
    assert list(game.positions())
    with pytest.raises(SourceError, match="game 1: stones set up: expected liberties"):
        list(bad.positions())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        read_sgf(tmp_path / "nothing.sgf")


def test_deep_and_wide_files_are_read(games):
    deep = "(;SZ[9]" + "(;B[aa]" * 20000 + ")" * 20001
    assert len(games(deep)[0].moves) == 20000
    long = "(;SZ[9]C[" + "\\]" * 200000 + "];B[aa])"
    assert len(games(long)[0].moves) == 1


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.sgf"
    path.write_bytes(data)
    try:
        read_sgf(path)
    except SourceError as error:
        assert error.where.startswith(str(path))  # noqa: PT017 (either is right)


PIECES = st.lists(
    st.sampled_from(
        [
            "(",
            ")",
            ";",
            "B[aa]",
            "W[ba]",
            "W[]",
            "AB[cc]",
            "AE[aa]",
            "SZ[5]",
            "C[x\\]y]",
            "[bb]",
            "B",
            "\n",
            "PL[W]",
        ]
    ),
    max_size=25,
)


@given(PIECES)
def test_pieces_of_sgf_are_read_as_sgfmill_does_or_refused(tmp_path_factory, pieces):
    grammar = pytest.importorskip("sgfmill.sgf_grammar")
    text = "(;SZ[5]" + "".join(pieces) + ")"
    path = tmp_path_factory.getbasetemp() / "pieces.sgf"
    path.write_text(text)
    try:
        found = read_sgf(path)
    except SourceError:
        return
    trees = grammar.parse_sgf_collection(text.encode())
    assert len(found) == len(trees)
    for game, tree in zip(found, trees):
        expected = [
            (colour, value.decode())
            for node in grammar.main_sequence_iter(tree)
            for name, values in node.items()
            for colour, value in [(name, values[0])]
            if name in ("B", "W")
        ]
        assert [("B" if m.colour == BLACK else "W") for m in game.moves] == [c for c, _ in expected]
        points = [
            PASS if v == "" else (ord(v[1]) - 97) * game.width + ord(v[0]) - 97 for _, v in expected
        ]
        assert [m.point for m in game.moves] == points


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the KataGo data")
def test_real_games_are_read_as_sgfmill_does():
    grammar = pytest.importorskip("sgfmill.sgf_grammar")
    total = 0
    for path in sorted(DATA.rglob("*.sgf*")):
        trees = grammar.parse_sgf_collection(path.read_bytes())
        found = read_sgf(path)
        assert len(found) == len(trees)
        for game, tree in zip(found, trees):
            nodes = list(grammar.main_sequence_iter(tree))
            moves = [node for node in nodes if "B" in node or "W" in node]
            assert len(game.moves) == len(moves)
            assert nodes[0]["KM"] == [f"{game.rules.komi:g}".encode()]
            for move, node in zip(game.moves, moves):
                (value,) = node["B" if move.colour == BLACK else "W"]
                at = (
                    ""
                    if move.point == PASS
                    else "".join(
                        chr(97 + n) for n in (move.point % game.width, move.point // game.width)
                    )
                )
                assert value.decode() in (at or "tt", at)
            total += 1
    assert total == 263
