-- Throughput of RFC 2544 in both directions at once, over the traffic of siit.pkt: for each frame size the highest rate
-- at which nothing is lost, found in short trials and confirmed in a long one.
-- Run it in Pktgen with `-f throughput.lua`, in the directory of siit.pkt. Results go to throughput.csv.

-- Frames on the IPv6 side, with their check sequence.
local SIZES = { 84, 128, 256, 512, 1024, 1280, 1518 }
local SHRINKS = 20 -- an IPv4 frame against the IPv6 frame it becomes
local GAP = 20 -- preamble and gap between frames, in bytes
local PRECISION = 0.1 -- per cent of the line rate of the IPv6 side
local SEARCH, CONFIRM = 10, 60 -- seconds of a trial
local SETTLE = 2000 -- milliseconds after a trial for what is on its way

local function set_sizes(size)
    for port, frame in pairs({ ["0"] = size, ["1"] = size - SHRINKS }) do
        pktgen.range.pkt_size(port, "start", frame)
        pktgen.range.pkt_size(port, "min", frame)
        pktgen.range.pkt_size(port, "max", frame)
        pktgen.range.pkt_size(port, "inc", 0)
    end
end

-- As many frames per second on both sides: the shorter IPv4 frames fill less of their line.
local function set_rates(size, percent)
    pktgen.set("0", "rate", percent)
    pktgen.set("1", "rate", percent * (size - SHRINKS + GAP) / (size + GAP))
end

-- Frames sent and lost in one trial.
local function trial(size, percent, seconds)
    set_rates(size, percent)
    pktgen.clr()
    pktgen.start("0,1")
    pktgen.delay(seconds * 1000)
    pktgen.stop("0,1")
    pktgen.delay(SETTLE)
    local left = pktgen.portStats("0", "port")[0]
    local right = pktgen.portStats("1", "port")[1]
    -- A port may see a few frames more than were sent to it: the relay's own, such as router solicitations.
    local lost = math.max(left.opackets - right.ipackets, 0) + math.max(right.opackets - left.ipackets, 0)
    print(string.format("%4d bytes, %7.3f %%: sent %d and %d, lost %d",
        size, percent, left.opackets, right.opackets, lost))
    return left.opackets + right.opackets, lost
end

local function without_loss(size, percent, seconds)
    local sent, lost = trial(size, percent, seconds)
    assert(sent > 0, "nothing was sent: are both links up?")
    return lost == 0, sent
end

local function search(size)
    if without_loss(size, 100, SEARCH) then
        return 100
    end
    local low, high = 0, 100
    while high - low > PRECISION do
        local middle = (low + high) / 2
        if without_loss(size, middle, SEARCH) then
            low = middle
        else
            high = middle
        end
    end
    return low
end

local results = assert(io.open("throughput.csv", "w"))
results:write("size,percent,frames_per_second_and_direction,confirmed\n")
pktgen.screen("off")
pktgen.load("siit.pkt")
for _, size in ipairs(SIZES) do
    set_sizes(size)
    local percent = search(size)
    local confirmed, sent = false, 0
    -- A rate that holds for ten seconds but not for a minute is not the throughput.
    while not confirmed and percent > 0 do
        confirmed, sent = without_loss(size, percent, CONFIRM)
        if not confirmed then
            percent = percent - PRECISION
        end
    end
    percent = math.max(percent, 0)
    local line = string.format("%d,%.3f,%d,%s", size, percent, confirmed and sent // (2 * CONFIRM) or 0,
        confirmed and "yes" or "no")
    print(line)
    results:write(line .. "\n")
    results:flush()
end
results:close()
