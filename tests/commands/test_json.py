"""JSON of every command is printed in one way, which knows no NaN."""

import argparse
import ast
import math
from collections import OrderedDict
from importlib import import_module
from inspect import getsource

import numpy as np
import pytest

from runtime.command import json_text
from runtime.files import strict_json
from tests.commands.test_door import ROWS

WITHOUT = {"train", "onnx", "bundle", "reference", "live"}  # these print no JSON


def calls_in(name):
    tree = ast.parse(getsource(import_module(ROWS[name][0])))
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def options_of(parser):
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from options_of(below)


def test_these_are_the_commands_that_print_it():
    parsers = {name: argparse.ArgumentParser() for name in ROWS}
    for name, parser in parsers.items():
        import_module(ROWS[name][0]).add_arguments(parser)
    assert {name for name, parser in parsers.items() if "--json" not in options_of(parser)} == WITHOUT


@pytest.mark.parametrize("name", ROWS)
def test_a_command_writes_it_in_one_way(name):
    calls = calls_in(name)
    assert not {"json.dumps", "json.dump", "dumps"} & {*calls}
    assert ("json_text" in calls) == (name not in WITHOUT)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_number_that_is_not_finite_is_null(indent):
    strange = {"a": math.nan, "b": [1.5, -math.inf, (np.float64("inf"), "NaN")], "c": OrderedDict(d={"e": math.inf})}
    text = json_text(strange, indent=indent)
    assert strict_json.loads(text) == {"a": None, "b": [1.5, None, [None, "NaN"]], "c": {"d": {"e": None}}}
    assert ("\n" in text) == (indent is not None)
    assert math.isnan(strange["a"])


def test_what_is_finite_stays_and_what_is_no_json_is_an_error():
    plain = {"a": [1, 2.5, True, None, "é\x1b"], "2": {}}
    assert strict_json.loads(json_text(plain)) == plain
    assert json_text("é\x1b").isprintable()
    with pytest.raises(TypeError):
        json_text({"a": object()})
