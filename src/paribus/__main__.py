from paribus.cli.commands import main

if __name__ == "__main__":  # a spawned process reads this file again
    main()
