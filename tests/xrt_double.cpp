/* A card that is software: the XRT functions that native/alveo.cpp calls, behind which a Verilated
 * alveo_kernel is stepped.  Built by tests/alveo_double.py, from the real XRT's headers, as a library
 * of the real one's name, so that the native part under test is the one that is used.
 *
 * Registers are AXI-Lite accesses of the model, and each lets some cycles pass, as a real one does.
 * The card's memory is apart from the host's: what is not synchronised does not arrive.  AXI memory
 * answers late, with pauses, in order.  `double_break` makes one thing go wrong.
 */
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <xrt/xrt_bo.h>
#include <xrt/xrt_device.h>
#include <experimental/xrt_ip.h>
#include <experimental/xrt_system.h>
#include <experimental/xrt_xclbin.h>

namespace {

enum broken { WHOLE, NO_XRT, NO_CARD, NO_KERNEL, LOST, STUCK, SHORT_PUT, SHORT_GET, READ_ERROR, WRITE_ERROR, NOT_PUT };
/* Ports of the model, in the order of alveo_double.PORTS. */
enum input { RST, AWADDR, AWVALID, WDATA, WSTRB, WVALID, BREADY, ARADDR, ARVALID, RREADY,
             M_AWREADY, M_WREADY, M_BRESP, M_BVALID, M_ARREADY, M_RDATA, M_RRESP, M_RLAST, M_RVALID,
             INPUTS };
enum output { AWREADY, WREADY, BRESP, BVALID, ARREADY, RDATA, RRESP, RVALID, M_AWADDR, M_AWLEN,
              M_AWVALID, M_WDATA, M_WLAST, M_WVALID, M_BREADY, M_ARADDR, M_ARLEN, M_ARVALID,
              M_RREADY, OUTPUTS };

constexpr uint64_t BASE = 0x4000000000; /* of the card's memory */
constexpr uint64_t AFTER_ACCESS = 600, LATENCY = 40, MOST = 100000;

struct burst {
    uint64_t address, words, due;
};

struct card {
    void (*step)(uint64_t, uint64_t, uint64_t) = nullptr;
    uint64_t model = 0, *in = nullptr, *out = nullptr, cycle = 0, random = 1, accesses = 0;
    int64_t to[INPUTS], from[OUTPUTS];
    std::vector<uint8_t> memory;
    std::deque<burst> reads, writes;
    std::deque<uint64_t> answers; /* cycles in which writes are answered */
    broken what = WHOLE;
    uint64_t after = 0;
    std::string xclbin;

    bool is_broken(broken kind) const { return what == kind && accesses >= after; }
    uint64_t draw() { return (random = random * 6364136223846793005u + 1442695040888963407u) >> 33; }
    uint64_t &given(input port) { return in[to[port]]; }
    uint64_t taken(output port) const { return out[from[port]]; }

    uint64_t *word(uint64_t address)
    {
        if (address < BASE || address + 8 > BASE + memory.size() || address % 8)
            throw std::runtime_error("the kernel left its buffers");
        return reinterpret_cast<uint64_t *>(&memory[address - BASE]);
    }

    void tick()
    {
        given(M_ARREADY) = draw() % 4 != 0;
        given(M_AWREADY) = draw() % 4 != 0;
        given(M_WREADY) = draw() % 8 != 0;
        /* What is offered stays until it is taken. */
        const bool has_read = !reads.empty() && reads.front().due <= cycle && !is_broken(STUCK);
        if (!given(M_RVALID) && has_read && draw() % 16) {
            given(M_RVALID) = 1;
            given(M_RDATA) = *word(reads.front().address);
            given(M_RRESP) = is_broken(READ_ERROR) ? 2 : 0;
            given(M_RLAST) = reads.front().words == 1;
        }
        if (!given(M_BVALID) && !answers.empty() && answers.front() <= cycle) {
            given(M_BVALID) = 1;
            given(M_BRESP) = is_broken(WRITE_ERROR) ? 2 : 0;
        }
        step(model, reinterpret_cast<uint64_t>(in), reinterpret_cast<uint64_t>(out));
        cycle++;
        if (taken(M_ARVALID) && given(M_ARREADY)) {
            const uint64_t address = taken(M_ARADDR), words = taken(M_ARLEN) + 1;
            if (address >> 12 != (address + 8 * words - 1) >> 12)
                throw std::runtime_error("a burst crosses 4 KiB");
            reads.push_back({address, words, cycle + LATENCY});
        }
        if (given(M_RVALID) && taken(M_RREADY)) {
            given(M_RVALID) = 0;
            reads.front().address += 8;
            if (--reads.front().words == 0)
                reads.pop_front();
        }
        if (taken(M_AWVALID) && given(M_AWREADY))
            writes.push_back({taken(M_AWADDR), taken(M_AWLEN) + 1, 0});
        if (taken(M_WVALID) && given(M_WREADY))
            write(taken(M_WDATA), taken(M_WLAST));
        if (given(M_BVALID) && taken(M_BREADY)) {
            given(M_BVALID) = 0;
            answers.pop_front();
        }
    }

    /* Data may come before its address; it is kept until then. */
    std::deque<std::pair<uint64_t, bool>> early;
    void write(uint64_t data, bool is_last)
    {
        early.emplace_back(data, is_last);
        while (!early.empty() && !writes.empty()) {
            burst &open = writes.front();
            if (!is_broken(WRITE_ERROR))
                *word(open.address) = early.front().first;
            open.address += 8;
            const bool is_end = --open.words == 0;
            if (is_end != early.front().second)
                throw std::runtime_error("wlast is not where awlen says");
            early.pop_front();
            if (is_end) {
                writes.pop_front();
                answers.push_back(cycle + LATENCY);
            }
        }
    }

    void forget()
    {
        reads.clear();
        writes.clear();
        answers.clear();
        early.clear();
        given(M_RVALID) = given(M_BVALID) = 0;
    }

    void pass(uint64_t cycles)
    {
        for (uint64_t n = 0; n < cycles; n++)
            tick();
    }

    void begin()
    {
        accesses++;
        if (is_broken(LOST))
            throw std::runtime_error("failed to access the device:\nNo such device");
    }

    uint32_t read(uint32_t offset)
    {
        begin();
        given(ARADDR) = offset;
        given(ARVALID) = given(RREADY) = 1;
        for (uint64_t n = 0; n < MOST; n++) {
            tick();
            if (taken(ARREADY))
                given(ARVALID) = 0;
            if (taken(RVALID)) {
                const uint32_t value = taken(RDATA);
                if (taken(RRESP))
                    throw std::runtime_error("the kernel refused a read");
                pass(AFTER_ACCESS);
                return value;
            }
        }
        throw std::runtime_error("the kernel does not answer");
    }

    void put(uint32_t offset, uint32_t value)
    {
        begin();
        given(AWADDR) = offset;
        given(WDATA) = value;
        given(WSTRB) = 15;
        given(AWVALID) = given(WVALID) = given(BREADY) = 1;
        for (uint64_t n = 0; n < MOST; n++) {
            tick();
            if (taken(AWREADY))
                given(AWVALID) = 0;
            if (taken(WREADY))
                given(WVALID) = 0;
            if (taken(BVALID)) {
                if (taken(BRESP))
                    throw std::runtime_error("the kernel refused a write");
                pass(draw() % 8);
                return;
            }
        }
        throw std::runtime_error("the kernel does not answer");
    }
} the_card;

} // namespace

extern "C" {

void double_attach(uint64_t step, uint64_t model, uint64_t in, uint64_t out, const int64_t *to,
                   const int64_t *from, uint64_t seed)
{
    the_card = card();
    the_card.step = reinterpret_cast<void (*)(uint64_t, uint64_t, uint64_t)>(step);
    the_card.model = model;
    the_card.in = reinterpret_cast<uint64_t *>(in);
    the_card.out = reinterpret_cast<uint64_t *>(out);
    std::copy(to, to + INPUTS, the_card.to);
    std::copy(from, from + OUTPUTS, the_card.from);
    the_card.random = seed;
    the_card.given(RST) = 1;
    for (int n = 0; n < 8; n++)
        the_card.tick();
    the_card.given(RST) = 0;
    /* Before a reset there is anything on the buses. */
    the_card.forget();
}

/* From that many register accesses on. */
void double_break(int what, uint64_t after)
{
    the_card.what = static_cast<broken>(what);
    the_card.after = the_card.accesses + after;
}

uint64_t double_cycles(void) { return the_card.cycle; }

} // extern "C"

namespace xrt_core {
class device {};
}

namespace xrt {

class bo_impl {
public:
    std::vector<uint8_t> host;
    uint64_t address;
};
class ip_impl {};
class xclbin_impl {};
class xclbin::ip_impl {};
class xclbin::arg_impl {
public:
    bool is_stream;
};
class xclbin::mem_impl {
public:
    bool is_stream;
};

unsigned int system::enumerate_devices()
{
    if (the_card.what == NO_XRT)
        throw std::runtime_error("XILINX_XRT not set");
    return the_card.what == NO_CARD ? 0 : 1;
}

device::device(unsigned int index)
{
    if (index || the_card.what == NO_CARD)
        throw std::runtime_error("Could not open device with index '" + std::to_string(index) + "'");
    handle = std::make_shared<xrt_core::device>();
}
device::operator xclDeviceHandle() const { return handle.get(); }
uuid device::load_xclbin(const xrt::xclbin &) { return uuid(); }

xclbin::xclbin(const std::string &path) : pimpl(std::make_shared<xclbin_impl>())
{
    the_card.xclbin = path;
}
std::vector<xclbin::ip> xclbin::get_ips() const
{
    if (the_card.what == NO_KERNEL)
        return {};
    return {ip(std::make_shared<ip_impl>())};
}
std::string xclbin::ip::get_name() const { return "tickpath_kernel:tickpath_kernel_1"; }
std::vector<xclbin::arg> xclbin::ip::get_args() const
{
    std::vector<arg> found;
    for (bool is_stream : {true, false}) {
        auto made = std::make_shared<arg_impl>();
        made->is_stream = is_stream;
        found.emplace_back(made);
    }
    return found;
}
std::vector<xclbin::mem> xclbin::arg::get_mems() const
{
    auto made = std::make_shared<mem_impl>();
    made->is_stream = handle->is_stream;
    return {mem(made)};
}
xclbin::mem::memory_type xclbin::mem::get_type() const
{
    return handle->is_stream ? memory_type::streaming_connection : memory_type::hbm;
}
int32_t xclbin::mem::get_index() const { return handle->is_stream ? 99 : 3; }

ip::ip(const device &, const uuid &, const std::string &name) : pimpl(std::make_shared<ip_impl>())
{
    if (name != "tickpath_kernel")
        throw std::runtime_error("No IP matching '" + name + "'");
}
uint32_t ip::read_register(uint32_t offset) const { return the_card.read(offset); }
void ip::write_register(uint32_t offset, uint32_t value) { the_card.put(offset, value); }

bo::bo(xclDeviceHandle, size_t size, bo::flags, memory_group group)
    : handle(std::make_shared<bo_impl>())
{
    if (group != 3)
        throw std::runtime_error("no memory of that index");
    handle->host.resize(size);
    handle->address = BASE + the_card.memory.size();
    /* What is there before is no zeros. */
    the_card.memory.resize(the_card.memory.size() + (size + 4095) / 4096 * 4096, 0xA5);
}
uint64_t bo::address() const { return handle->address; }
void *bo::map() { return handle->host.data(); }
void bo::sync(xclBOSyncDirection direction, size_t size, size_t offset)
{
    if (offset + size > handle->host.size())
        throw std::runtime_error("beyond the buffer");
    uint8_t *host = handle->host.data() + offset;
    uint8_t *card = &the_card.memory[handle->address - BASE + offset];
    if (direction == XCL_BO_SYNC_BO_TO_DEVICE) {
        if (the_card.is_broken(NOT_PUT))
            throw std::runtime_error("DMA failed: Input/output error");
        std::memcpy(card, host, the_card.is_broken(SHORT_PUT) ? size / 2 : size);
    } else
        std::memcpy(host, card, the_card.is_broken(SHORT_GET) ? size - 8 : size);
}

} // namespace xrt
