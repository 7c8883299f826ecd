"""Compares an answer's JSON with the table of fields, and what the SDK made of it with that JSON.

Every function yields mistakes: (path of the field, what was got, what was wanted).
"""

import decimal
import re

from sdk_fields import MODELS

TIME = re.compile(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3])[0-5]\d[0-5]\dZ")
TIME_MS = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z"
)
HEX24 = re.compile(r"[0-9a-f]{24}")


def is_number(value):
    return isinstance(value, (int, decimal.Decimal)) and not isinstance(value, bool)


def is_text(pattern):
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))


SIMPLE = {
    "s": ("a text", lambda value: isinstance(value, str)),
    "i": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "f": ("a number", is_number),
    "b": ("true or false", lambda value: isinstance(value, bool)),
    "obj": ("an object", lambda value: isinstance(value, dict)),
    "any": ("any value", lambda value: True),
    "time": ("a time like 20260131T235959Z", is_text(TIME)),
    "time_ms": ("a time like 2026-01-31T23:59:59.000Z", is_text(TIME_MS)),
    "hex24": ("24 lower-case hexadecimal digits", is_text(HEX24)),
}


def fields_of(model):
    """The fields of a model: name -> (type, whether it may be null)."""
    fields = {}
    for pair in " ".join(MODELS[model].split()).split(","):
        name, kind = pair.strip().split(" ", 1)
        fields[name.rstrip("!")] = (kind.strip(), not name.endswith("!"))
    return fields


FIELDS = {model: fields_of(model) for model in MODELS}


def mistakes(kind, value, path=""):
    """What is wrong with a value that should be of this type or model."""
    if kind.endswith("[]"):
        if not isinstance(value, list):
            yield path, value, "a list"
            return
        for index, element in enumerate(value):
            yield from mistakes(kind[:-2], element, f"{path}[{index}]")
    elif kind in FIELDS:
        yield from model_mistakes(kind, value, path)
    elif kind in SIMPLE:
        words, fits = SIMPLE[kind]
        if not fits(value):
            yield path, value, words
    elif value not in kind.split("|"):
        yield path, value, f"one of {kind.replace('|', ', ')}"


def model_mistakes(model, value, path):
    if not isinstance(value, dict):
        yield path, value, f"an object ({model})"
        return
    dot = f"{path}." if path else ""
    for name, (kind, may_be_null) in FIELDS[model].items():
        if name not in value:
            yield dot + name, "(absent)", "a field, null when unknown"
        elif value[name] is not None:
            yield from mistakes(kind, value[name], dot + name)
        elif not may_be_null:
            yield dot + name, None, "a value: it is always known"
    for name in value.keys() - FIELDS[model].keys():
        yield dot + name, value[name], "no such field"


def differences(parsed, raw, path=""):
    """Where what the SDK parsed is not what the JSON says."""
    if hasattr(parsed, "attribute_map"):
        if not isinstance(raw, dict):
            yield path, parsed, raw
            return
        for attribute, key in parsed.attribute_map.items():
            inner = f"{path}.{key}" if path else key
            yield from differences(getattr(parsed, attribute), raw.get(key), inner)
    elif isinstance(parsed, list) and isinstance(raw, list) and len(parsed) == len(raw):
        for index, (one, other) in enumerate(zip(parsed, raw)):
            yield from differences(one, other, f"{path}[{index}]")
    elif parsed != raw or isinstance(parsed, bool) != isinstance(raw, bool):
        yield f"{path} as the SDK parsed it", parsed, raw


def unlike_the_sdk(model, sdk_class):
    """Where the table and the SDK's class list different fields."""
    ours, theirs = set(FIELDS[model]), set(sdk_class.attribute_map.values())
    for name in sorted(ours ^ theirs):
        place = "only in the table" if name in ours else "only in the SDK's class"
        yield f"{model}.{name}", place, "in both"
