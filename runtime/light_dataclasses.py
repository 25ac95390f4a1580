"""`dataclasses` for classes that a short command imports: what is used of it here, made in a twentieth of the time.

The standard library's imports `inspect` and compiles six methods for each class, 0.5 to 1.6 ms; the modules of a launch have more
than a hundred, and most of their methods are never called. Here the methods are functions that all classes share, and a
constructor is compiled for a class of which many objects are made. A type checker sees the standard library's own.
"""

from __future__ import annotations

from operator import attrgetter

# Type checkers take a variable of this name for true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import MISSING as MISSING
    from dataclasses import Field as Field
    from dataclasses import FrozenInstanceError as FrozenInstanceError
    from dataclasses import asdict as asdict
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import fields as fields
    from dataclasses import is_dataclass as is_dataclass
    from dataclasses import replace as replace
else:
    MISSING = object()
    _COMPILE_AFTER = 32  # objects: 3 us each are what compiling costs, 0.15 ms

    class FrozenInstanceError(AttributeError):
        """An attribute of a frozen object was to be changed."""

    class Field:
        """A field of a data class; *type* is the text of its annotation."""

        __slots__ = ("compare", "default", "default_factory", "init", "name", "repr", "type")

        def __init__(self, default, default_factory, init, repr, compare):
            self.default, self.default_factory = default, default_factory
            self.init, self.repr, self.compare = init, repr, compare

    def field(*, default=MISSING, default_factory=MISSING, init=True, repr=True, compare=True):
        return Field(default, default_factory, init, repr, compare)

    def dataclass(cls=None, /, *, frozen=False, slots=False, order=False, eq=True):
        if cls is None:
            return lambda cls: _dataclass(cls, frozen, slots, order, eq)
        return _dataclass(cls, frozen, slots, order, eq)

    def is_dataclass(value):
        return hasattr(value, "__dataclass_fields__")

    def fields(value):
        return tuple(value.__dataclass_fields__.values())

    def replace(value, /, **changes):
        for each in value.__dataclass_fields__.values():
            if each.init:
                changes.setdefault(each.name, getattr(value, each.name))
        return type(value)(**changes)

    def asdict(value):
        if is_dataclass(value):
            return {name: asdict(getattr(value, name)) for name in value.__dataclass_fields__}
        if isinstance(value, dict):
            return type(value)((asdict(key), asdict(each)) for key, each in value.items())
        if isinstance(value, (list, tuple)):
            values = [asdict(each) for each in value]
            return type(value)(*values) if hasattr(value, "_fields") else type(value)(values)
        return value

    def _dataclass(cls, frozen, slots, order, eq):
        own = [_own_field(cls, name, annotation) for name, annotation in cls.__annotations__.items()]
        inherited = [each for base in cls.__mro__[:0:-1] for each in getattr(base, "__dataclass_fields__", {}).values()]
        all_fields = {each.name: each for each in (*inherited, *own)}
        made = {
            "__dataclass_fields__": all_fields,
            "__match_args__": tuple(each.name for each in all_fields.values() if each.init),
            **_methods(all_fields.values(), frozen, order, eq),
        }
        if eq and not frozen and "__eq__" not in cls.__dict__:
            made["__hash__"] = None
        # What the class has itself stays; a None is the __hash__ that Python gave it with its own __eq__.
        made = {name: value for name, value in made.items() if cls.__dict__.get(name) is None}
        if slots:
            names = tuple(each.name for each in own)
            body = {name: value for name, value in cls.__dict__.items() if name not in (*names, "__dict__", "__weakref__")}
            cls = type(cls)(cls.__name__, cls.__bases__, {**body, "__slots__": names, "__qualname__": cls.__qualname__})
            made |= {"__getstate__": _get_state, "__setstate__": _set_state}
        else:
            for each in own:
                if each.default is not MISSING:
                    setattr(cls, each.name, each.default)
                elif each.name in cls.__dict__:
                    delattr(cls, each.name)
        for name, value in made.items():
            setattr(cls, name, value)
        if "__init__" not in cls.__dict__:
            cls.__init__ = _constructor(cls, frozen)
        return cls

    def _own_field(cls, name, annotation):
        value = cls.__dict__.get(name, MISSING)
        made = value if isinstance(value, Field) else field(default=value)
        made.name, made.type = name, annotation
        return made

    def _methods(all_fields, frozen, order, eq):
        compared = _values_of([each.name for each in all_fields if each.compare])
        shown = [each.name for each in all_fields if each.repr]

        def __repr__(self):
            return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

        def compare(how):
            def method(self, other):
                return how(compared(self), compared(other)) if other.__class__ is self.__class__ else NotImplemented

            return method

        methods = {"__repr__": __repr__}
        if eq:
            methods["__eq__"] = compare(lambda one, other: one == other)
        if order:
            methods["__lt__"] = compare(lambda one, other: one < other)
            methods["__le__"] = compare(lambda one, other: one <= other)
            methods["__gt__"] = compare(lambda one, other: one > other)
            methods["__ge__"] = compare(lambda one, other: one >= other)
        if frozen:
            methods["__setattr__"] = _refuse_to_set
            methods["__delattr__"] = _refuse_to_delete
            if eq:
                methods["__hash__"] = lambda self: hash(compared(self))
        return methods

    def _values_of(names):
        if not names:
            return lambda self: ()
        values = attrgetter(*names)
        return values if len(names) > 1 else lambda self: (values(self),)

    def _refuse_to_set(self, name, value):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def _refuse_to_delete(self, name):
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def _get_state(self):
        return [getattr(self, name) for name in self.__dataclass_fields__]

    def _set_state(self, state):
        for name, value in zip(self.__dataclass_fields__, state, strict=True):
            object.__setattr__(self, name, value)

    def _constructor(cls, frozen):
        """Sets field by field, and compiles one for the class when that begins to pay: a fork makes one or two objects."""
        all_fields, made = fields(cls), 0
        names = [each.name for each in all_fields if each.init]
        needed = {each.name for each in all_fields if each.init and each.default is MISSING and each.default_factory is MISSING}
        known, has_more = frozenset(names), hasattr(cls, "__post_init__")
        set_field = object.__setattr__ if frozen else setattr

        def __init__(self, /, *values, **named):
            nonlocal made
            made += 1
            given = dict(zip(names, values, strict=False)) | named
            is_clear = len(given) == len(values) + len(named) and needed <= given.keys() <= known
            if made > _COMPILE_AFTER or not is_clear:  # the compiled one says what is wrong with the arguments
                cls.__init__ = _compiled_constructor(cls, frozen)
                cls.__init__(self, *values, **named)
                return
            for each in all_fields:
                if each.name in given:
                    set_field(self, each.name, given[each.name])
                elif each.default_factory is not MISSING:
                    set_field(self, each.name, each.default_factory())
                elif each.default is not MISSING:
                    set_field(self, each.name, each.default)
            if has_more:
                self.__post_init__()

        return __init__

    def _compiled_constructor(cls, frozen):
        names = {"_set": object.__setattr__, "MISSING": MISSING}
        parameters, lines = ["self"], []
        for each in fields(cls):
            value = each.name
            if each.default_factory is not MISSING:
                names[f"_new_{each.name}"] = each.default_factory
                value = f"_new_{each.name}()" + (f" if {each.name} is MISSING else {each.name}" if each.init else "")
            elif each.default is not MISSING:
                names[f"_default_{each.name}"] = each.default
                value = each.name if each.init else f"_default_{each.name}"
            elif not each.init:
                continue
            if each.init and value != each.name:
                parameters.append(f"{each.name}=MISSING")
            elif each.init:
                parameters.append(each.name if each.default is MISSING else f"{each.name}=_default_{each.name}")
            lines.append(f"_set(self, {each.name!r}, {value})" if frozen else f"self.{each.name} = {value}")
        if hasattr(cls, "__post_init__"):
            lines.append("self.__post_init__()")
        exec(f"def __init__({', '.join(parameters)}):\n  " + "\n  ".join(lines or ["pass"]), names)
        made = names["__init__"]
        made.__qualname__ = f"{cls.__qualname__}.__init__"
        return made
