"""The pack `speclisp`: write the interpreter of a small Lisp of which only the tests are known."""
