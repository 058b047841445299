"""Tests of the recipe of the embedded model."""
