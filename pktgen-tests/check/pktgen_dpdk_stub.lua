-- Stands in for Pktgen's Lua library: lua pktgen_dpdk_stub.lua SCRIPT, with LIMIT in the environment: the frames per
-- second and direction that the relay carries. Every call is checked against the names and numbers of arguments that
-- Pktgen registers (app/lpktgenlib.c), and written to standard error, one per line, separated by tabs.

local ARGUMENTS = {
    set = { 3, 3 }, set_mac = { 3, 3 }, set_ipaddr = { 3, 3 }, set_proto = { 2, 2 }, set_type = { 2, 2 },
    seq = { 12, 13 }, start = { 1, 1 }, stop = { 1, 1 }, clr = { 0, 0 }, clear = { 1, 1 }, delay = { 1, 1 },
    screen = { 1, 1 }, load = { 1, 1 }, portStats = { 2, 2 }, pktStats = { 1, 1 }, linkState = { 1, 1 },
    isSending = { 1, 1 }, set_range = { 2, 2 }, page = { 1, 1 }, latency = { 2, 2 },
}
local RANGE_ARGUMENTS = {
    dst_mac = { 3, 3 }, src_mac = { 3, 3 }, src_ip = { 3, 3 }, dst_ip = { 3, 3 }, ip_proto = { 2, 2 },
    src_port = { 3, 3 }, dst_port = { 3, 3 }, ttl = { 3, 3 }, pkt_size = { 3, 3 },
}
local SETTINGS = { count = true, size = true, rate = true, burst = true, sport = true, dport = true, ttl = true,
    seq_cnt = true, seqCnt = true, prime = true }
local LINE_RATE = 10e9 / 8 -- bytes per second
local GAP = 20

local limit = tonumber(os.getenv("LIMIT") or "0")
local size, rate, sent, received = { [0] = 64, 64 }, { [0] = 100, 100 }, { [0] = 0, 0 }, { [0] = 0, 0 }
local sending = false

local function ports(list)
    local found = {}
    for port in list:gmatch("[^,]+") do
        assert(port == "0" or port == "1", "no such port: " .. list)
        table.insert(found, tonumber(port))
    end
    return found
end

local behaviour = {}

function behaviour.set(list, what, value)
    assert(SETTINGS[what], "set does not support " .. what)
    assert(tonumber(value), "a number is needed: " .. tostring(value))
    for _, port in ipairs(ports(list)) do
        if what == "rate" then rate[port] = value end
    end
end

function behaviour.start(list)
    assert(#ports(list) == 2)
    sending = true
end

function behaviour.stop()
    sending = false
end

function behaviour.clr()
    sent, received = { [0] = 0, 0 }, { [0] = 0, 0 }
end

function behaviour.delay(milliseconds)
    if not sending then return end
    for port = 0, 1 do
        local frames = rate[port] / 100 * LINE_RATE / (size[port] + GAP) * milliseconds / 1000
        sent[port] = sent[port] + math.floor(frames)
        received[1 - port] = received[1 - port] + math.floor(math.min(frames, limit * milliseconds / 1000))
    end
end

function behaviour.portStats(list, kind)
    assert(kind == "port" or kind == "rate", kind)
    local answer = {}
    for _, port in ipairs(ports(list)) do
        answer[port] = { opackets = sent[port], ipackets = received[port] }
    end
    return answer
end

function behaviour.load(path)
    assert(io.open(path), path .. ": no such file"):close()
end

function behaviour.range_pkt_size(port, what, value)
    assert(({ start = true, min = true, max = true, inc = true })[what], what)
    if what == "start" then size[tonumber(port)] = value end
end

local function library(known, prefix)
    return setmetatable({}, { __index = function(_, name)
        local bounds = assert(known[name], "Pktgen has no function " .. prefix .. name)
        return function(...)
            local count = select("#", ...)
            assert(bounds[1] <= count and count <= bounds[2],
                string.format("%s%s: wrong number of arguments: %d", prefix, name, count))
            local words = { prefix .. name }
            for at = 1, count do words[at + 1] = tostring((select(at, ...))) end
            io.stderr:write(table.concat(words, "\t"), "\n")
            local act = behaviour[(prefix .. name):gsub("%.", "_")]
            return act and act(...)
        end
    end })
end

pktgen = library(ARGUMENTS, "")
rawset(pktgen, "range", library(RANGE_ARGUMENTS, "range."))
dofile(arg[1])
