-- A simple IMIX in both families: twelve packets per port, sent in turn (7 small, 4 middle, 1 large).
-- Run it in Pktgen with `-f sequence.lua`; then `start 0,1`.

local MAC = {
    ["0"] = { relay = "02:00:00:00:00:20", tester = "02:00:00:00:00:10" },
    ["1"] = { relay = "02:00:00:00:00:21", tester = "02:00:00:00:00:11" },
}
-- Frames on the IPv6 side with their check sequence; on the IPv4 side they are 20 bytes smaller.
local SIZES = { 84, 614, 84, 84, 614, 84, 1518, 84, 614, 84, 84, 614 }
local SHRINKS = 20
local VLAN, GTPU = 1, 0

for number, size in ipairs(SIZES) do
    local slot = number - 1
    local source_port, destination_port = 1024 + 997 * number, 1 + 991 * number
    -- Mapping 1, 257, 513 and so on, each with a client of its own.
    local last = string.format("%d.%d", slot, 1)
    local hexadecimal = string.format("%x01", slot)

    pktgen.seq(slot, "0", MAC["0"].relay, MAC["0"].tester,
        "2001:db8:46::c612:" .. hexadecimal, "2001:db8:64::a00:" .. hexadecimal .. "/64",
        source_port, destination_port, "ipv6", "udp", VLAN, size, GTPU)
    pktgen.seq(slot, "1", MAC["1"].relay, MAC["1"].tester,
        "10.0." .. last, "198.18." .. last .. "/15",
        source_port, destination_port, "ipv4", "udp", VLAN, size - SHRINKS, GTPU)
end
pktgen.set("0,1", "seq_cnt", #SIZES)
pktgen.set("0,1", "count", 0)
