"""Readers of official files."""
