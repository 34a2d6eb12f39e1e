"""fliqd as something that is installed, started and watched by others."""
