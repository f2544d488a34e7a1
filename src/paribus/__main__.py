from paribus.cli import main

main()
