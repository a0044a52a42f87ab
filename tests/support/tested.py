"""The program under test, for every Python test that is given it as --tandem."""

import argparse
import pathlib
import sys
import unittest


class Options:
    tandem = ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tandem", required=True)
    known, rest = parser.parse_known_args()
    Options.tandem = str(pathlib.Path(known.tandem).resolve())
    unittest.main(module="__main__", argv=[sys.argv[0], *rest], verbosity=2)
