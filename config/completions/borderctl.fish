# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_borderctl_global_optspecs
    string join \n socket= json h/help
end

function __fish_borderctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_borderctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_borderctl_using_subcommand
    set -l cmd (__fish_borderctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c borderctl -n "__fish_borderctl_needs_command" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_needs_command" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "status" -d 'The relay in short: health, revision, ports, workers'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "eam" -d 'Mappings between IPv4 and IPv6 addresses (RFC 7757)'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "pool" -d 'IPv4 Service Address Pools (RFC 7755)'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "check" -d 'What there is to say about the staged changes, or about the mappings in force'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "diff" -d 'What the staged changes, or two revisions, have different'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "commit" -d 'Commit the staged changes'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "confirm" -d 'Keep a commit that was made with --confirm-within'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "discard" -d 'Throw the staged changes away'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "rollback" -d 'Go back to the mappings of an earlier revision'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "history" -d 'The revisions, newest first: who, when, why, what'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "reload" -d 'Make the relay read its configuration and its files again'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "top" -d 'What moves now: ports, workers, cycles per packet, drops, busiest mappings'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "ports" -d 'The ports, with the drivers\' own counts'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "routes" -d 'The routes the workers use'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "neighbors" -d 'The neighbours the workers use'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "workers" -d 'The workers, and how loaded each is'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "counters" -d 'Every counter; docs/counters.md says what each means'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "drops" -d 'Dropped packets: why, how many, since when, what to check, and samples of them'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "capture" -d 'Write packets into a file, each as it came and as it went'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "trace" -d 'Packets as they pass, one line each; or how many take which way'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "health" -d 'Whether the relay is in service: tests, announced routes, a drain'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "drain" -d 'Take the relay out of service'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "undrain" -d 'Take the relay back into service'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "digest" -d 'What the mappings in use hash to, or how they differ from those of another relay'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "explain" -d 'What the relay would do with a packet now, and why'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "events" -d 'What happens, as it happens: revisions, reloads'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "version" -d 'The versions of this program, of the relay, and of what they speak'
complete -c borderctl -n "__fish_borderctl_needs_command" -f -a "generate" -d 'Write completions and man pages into a directory'
complete -c borderctl -n "__fish_borderctl_using_subcommand status" -l watch -d 'Print again every so many seconds, until interrupted' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand status" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand status" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand status" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and not __fish_seen_subcommand_from list counters get add remove import export lookup" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and not __fish_seen_subcommand_from list counters get add remove import export lookup" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and not __fish_seen_subcommand_from list counters get add remove import export lookup" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and not __fish_seen_subcommand_from list counters get add remove import export lookup" -f -a "list" -d 'Every mapping, ordered by IPv4 prefix'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and not __fish_seen_subcommand_from list counters get add remove import export lookup" -f -a "counters" -d 'Packets and bytes of each mapping since the start of the relay, both ways'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and not __fish_seen_subcommand_from list counters get add remove import export lookup" -f -a "get" -d 'One mapping'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and not __fish_seen_subcommand_from list counters get add remove import export lookup" -f -a "add" -d 'Add a mapping'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and not __fish_seen_subcommand_from list counters get add remove import export lookup" -f -a "remove" -d 'Remove mappings'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and not __fish_seen_subcommand_from list counters get add remove import export lookup" -f -a "import" -d 'Add the mappings of a file'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and not __fish_seen_subcommand_from list counters get add remove import export lookup" -f -a "export" -d 'Print the mappings as CSV'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and not __fish_seen_subcommand_from list counters get add remove import export lookup" -f -a "lookup" -d 'How an address is translated, and why'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from list" -l within -d 'Only mappings with a prefix inside this one, or around it' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from list" -l owner -d 'Only those of that owner: `store`, `config` for those of the configuration, or a file\'s name' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from list" -l limit -d 'So many at most' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from list" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from list" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from counters" -l within -d 'Only mappings with a prefix inside this one, or around it' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from counters" -l top -d 'Only so many, the busiest by bytes' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from counters" -l format -d 'How to print' -r -f -a "table\t'Columns for people'
csv\t'For bills: a head, then a line for each mapping'"
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from counters" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from counters" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from counters" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from get" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from get" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from add" -l comment -d 'A note: of the mapping that is added, and of the revision in the history' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from add" -l confirm-within -d 'Undo it after that time (60s, 5m, 2h) unless `borderctl confirm` comes first' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from add" -l on -d 'Only if this revision is still in force' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from add" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from add" -l auto -d 'Take the next free address of the service pools'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from add" -l replace -d 'Put it in the place of what the IPv4 prefix is mapped to'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from add" -l stage -d 'Put it into the candidate, which `diff`, `commit` and `discard` work on'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from add" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from remove" -l comment -d 'A note: of the mapping that is added, and of the revision in the history' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from remove" -l confirm-within -d 'Undo it after that time (60s, 5m, 2h) unless `borderctl confirm` comes first' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from remove" -l on -d 'Only if this revision is still in force' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from remove" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from remove" -l stage -d 'Put it into the candidate, which `diff`, `commit` and `discard` work on'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from import" -l format -d 'What the file is' -r -f -a "auto\t'Found out from the file'
csv\t'CSV: comma, semicolon or tab'
jool\t'Jool\'s JSON'
tayga\t'TAYGA\'s configuration'
lines\t'One JSON object a line'"
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from import" -l comment -d 'A note: of the mapping that is added, and of the revision in the history' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from import" -l confirm-within -d 'Undo it after that time (60s, 5m, 2h) unless `borderctl confirm` comes first' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from import" -l on -d 'Only if this revision is still in force' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from import" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from import" -l replace -d 'Mappings of the store that are not in the file go, those that differ are changed'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from import" -l allow-empty -d 'Replace the mappings of the store by none'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from import" -l stage -d 'Put it into the candidate, which `diff`, `commit` and `discard` work on'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from import" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from export" -l within -d 'Only mappings with a prefix inside this one, or around it' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from export" -l owner -d 'Only those of that owner: `store`, `config` for those of the configuration, or a file\'s name' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from export" -l limit -d 'So many at most' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from export" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from export" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from lookup" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from lookup" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand eam; and __fish_seen_subcommand_from lookup" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand pool; and not __fish_seen_subcommand_from show" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand pool; and not __fish_seen_subcommand_from show" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand pool; and not __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand pool; and not __fish_seen_subcommand_from show" -f -a "show" -d 'How full the service pools are'
complete -c borderctl -n "__fish_borderctl_using_subcommand pool; and __fish_seen_subcommand_from show" -l watch -d 'Print again every so many seconds, until interrupted' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand pool; and __fish_seen_subcommand_from show" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand pool; and __fish_seen_subcommand_from show" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand pool; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand check" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand check" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand check" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand diff" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand diff" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand commit" -l comment -d 'A note: of the mapping that is added, and of the revision in the history' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand commit" -l confirm-within -d 'Undo it after that time (60s, 5m, 2h) unless `borderctl confirm` comes first' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand commit" -l on -d 'Only if this revision is still in force' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand commit" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand commit" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand commit" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand confirm" -l comment -d 'Why, for the history' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand confirm" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand confirm" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand confirm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand discard" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand discard" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand discard" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand rollback" -l comment -d 'A note: of the mapping that is added, and of the revision in the history' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand rollback" -l confirm-within -d 'Undo it after that time (60s, 5m, 2h) unless `borderctl confirm` comes first' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand rollback" -l on -d 'Only if this revision is still in force' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand rollback" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand rollback" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand history" -l limit -d 'So many at most' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand history" -l before -d 'Only those before this one' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand history" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand history" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand history" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand reload" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand reload" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand reload" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand top" -l interval -d 'Seconds between two readings, which rates are averages of' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand top" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand top" -l once -d 'Print one reading and end'
complete -c borderctl -n "__fish_borderctl_using_subcommand top" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand ports" -l watch -d 'Print again every so many seconds, until interrupted' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand ports" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand ports" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand ports" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand routes" -l limit -d 'So many at most' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand routes" -l watch -d 'Print again every so many seconds, until interrupted' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand routes" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand routes" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand routes" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand neighbors" -l watch -d 'Print again every so many seconds, until interrupted' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand neighbors" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand neighbors" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand neighbors" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand workers" -l watch -d 'Print again every so many seconds, until interrupted' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand workers" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand workers" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand workers" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand counters" -l watch -d 'Print again every so many seconds, until interrupted' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand counters" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand counters" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand counters" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand drops" -l last -d 'Show the newest samples of dropped packets, 20 unless told' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand drops" -l reason -d 'Only that reason' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand drops" -l pcap -d 'Write samples as a capture (pcapng), a comment with the reason on each' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand drops" -l watch -d 'Print again every so many seconds, until interrupted' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand drops" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand drops" -l senders -d 'Who sends them: the sources of the samples, with the packets these stand for'
complete -c borderctl -n "__fish_borderctl_using_subcommand drops" -l all -d 'Reasons without a drop too'
complete -c borderctl -n "__fish_borderctl_using_subcommand drops" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand drops" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand capture" -l filter -d 'Which packets; every packet when left out' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand capture" -l count -d 'End after so many packets; 1000 unless told, 10000 with --paths and --services' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand capture" -l seconds -d 'End after so many seconds' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand capture" -l rate -d 'Packets a second at most' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand capture" -l snap -d 'Bytes of each frame at most, 64 to 9600' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand capture" -s w -l write -d 'The file, which is written with your rights' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand capture" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand capture" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand capture" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand trace" -l filter -d 'Which packets; every packet when left out' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand trace" -l count -d 'End after so many packets; 1000 unless told, 10000 with --paths and --services' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand trace" -l seconds -d 'End after so many seconds' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand trace" -l rate -d 'Packets a second at most' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand trace" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand trace" -l paths -d 'How many packets took which way, at the end'
complete -c borderctl -n "__fish_borderctl_using_subcommand trace" -l services -d 'How many packets and bytes each mapping had, at the end: which service takes the traffic'
complete -c borderctl -n "__fish_borderctl_using_subcommand trace" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand trace" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand health" -l watch -d 'Print again every so many seconds, until interrupted' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand health" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand health" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand health" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand drain" -l lead -d 'How long the routes stay, worse than usual (10s, 1m); as configured when left out' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand drain" -l timeout -d 'Give up waiting after that time; the drain goes on' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand drain" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand drain" -l no-wait -d 'Do not wait until it is quiet'
complete -c borderctl -n "__fish_borderctl_using_subcommand drain" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand undrain" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand undrain" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand undrain" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand digest" -l compare -d 'The control socket of the other relay, or http://HOST:PORT where that is forwarded to' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand digest" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand digest" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand digest" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l src -d 'Source address, as the relay receives it' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l dst -d 'Destination address' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l proto -d 'tcp, udp, icmp (an echo request) or a protocol number [default: tcp]' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l sport -d 'Source port, or the identifier of the echo request [default: 49152]' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l dport -d 'Destination port [default: 443]' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l size -d 'Bytes of the whole IP packet [default: as few as there must be]' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l df -d 'DF of an IPv4 packet, true or false [default: true]' -r -f -a "true\t''
false\t''"
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l ttl -d 'Time to Live or hop limit [default: 64]' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l tos -d 'Type of Service or Traffic Class [default: 0]' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l port -d 'The port that receives it [default: the one its source is reached by]' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l vlan -d 'The VLAN it comes in' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l hex -d 'The packet as hexadecimal digits, from its IP header or from its Ethernet header on' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l pcap -d 'The packet is in this capture file (pcap or pcapng; - is standard input)' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l packet -d 'Which one of the file, as Wireshark counts them' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l last-drop -d 'The dropped packet with this number of `borderctl drops --last`: would it still be dropped?' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l group -d 'It comes as a broadcast or multicast of the link layer'
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c borderctl -n "__fish_borderctl_using_subcommand events" -l count -d 'End after so many' -r
complete -c borderctl -n "__fish_borderctl_using_subcommand events" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand events" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand events" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand version" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand version" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand version" -s h -l help -d 'Print help'
complete -c borderctl -n "__fish_borderctl_using_subcommand generate" -l socket -d 'The relay\'s control socket' -r -F
complete -c borderctl -n "__fish_borderctl_using_subcommand generate" -l json -d 'Print JSON for programs'
complete -c borderctl -n "__fish_borderctl_using_subcommand generate" -s h -l help -d 'Print help'
