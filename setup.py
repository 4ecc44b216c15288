"""Stub for Beam's stager, which looks for a setup.py; pyproject.toml holds everything."""

from setuptools import setup

setup()
