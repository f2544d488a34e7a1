from paribus.cli.commands import main

main()
