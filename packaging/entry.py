"""Where the frozen program begins."""

from fliqd.__main__ import main

main()
