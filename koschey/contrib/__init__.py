"""Plug-ins that come along. None is loaded unless the setting ``plugins`` names its module."""
