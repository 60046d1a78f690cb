/* The tickpath kernel on a card, through XRT's C++ interface: see alveo.h.
 *
 * The kernel is "user managed": XRT starts nothing and keeps no queue, it maps the registers
 * (xrt::ip, for one process at a time) and moves buffers (xrt::bo).  What these do is decided in
 * Python (tickpath_backends.alveo_card).
 */
extern "C" {
#include "alveo.h"
}

#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>

#include <xrt/xrt_bo.h>
#include <xrt/xrt_device.h>
#include <xrt/xrt_uuid.h>
#if __has_include(<xrt/experimental/xrt_ip.h>)
#include <xrt/experimental/xrt_ip.h>
#include <xrt/experimental/xrt_system.h>
#include <xrt/experimental/xrt_xclbin.h>
#else
#include <experimental/xrt_ip.h>
#include <experimental/xrt_system.h>
#include <experimental/xrt_xclbin.h>
#endif

struct alveo_card {
    xrt::device device;
    xrt::ip ip;
    xrt::bo frames;
    xrt::bo records;
};

namespace {

/* A reason as one line. */
void say(char *text, const char *what)
{
    std::strncpy(text, what, ALVEO_TEXT - 1);
    text[ALVEO_TEXT - 1] = '\0';
    for (char *each = text; *each; each++)
        if (*each == '\n' || *each == '\r')
            *each = ' ';
}

/* Run a step; false where it threw, with the reason. */
template <typename Step> bool attempt(char *text, Step step)
{
    try {
        step();
        return true;
    } catch (const std::exception &error) {
        say(text, error.what());
    } catch (...) {
        say(text, "XRT failed without a reason");
    }
    return false;
}

/* What a stream is connected to is listed as memory too. */
bool is_stream(xrt::xclbin::mem::memory_type type)
{
    using kind = xrt::xclbin::mem::memory_type;
    return type == kind::streaming || type == kind::streaming_connection;
}

/* The memory that the kernel's AXI port is connected to. */
int32_t memory_of(const xrt::xclbin &xclbin, const std::string &kernel)
{
    for (const auto &ip : xclbin.get_ips()) {
        // An instance is called "kernel:instance".
        const std::string name = ip.get_name();
        if (name != kernel && name.compare(0, kernel.size() + 1, kernel + ":") != 0)
            continue;
        for (const auto &argument : ip.get_args())
            for (const auto &memory : argument.get_mems())
                if (!is_stream(memory.get_type()))
                    return memory.get_index();
        throw std::runtime_error("kernel " + kernel + " is connected to no memory");
    }
    throw std::runtime_error("the xclbin has no kernel " + kernel);
}

} // namespace

extern "C" {

int alveo_devices(char *text)
{
    int count = -1;
    attempt(text, [&] { count = static_cast<int>(xrt::system::enumerate_devices()); });
    return count;
}

struct alveo_card *alveo_open(const struct alveo_options *options, struct alveo_memory *memory,
                              char *text)
{
    alveo_card *card = nullptr;
    const bool is_open = attempt(text, [&] {
        card = new alveo_card;
        card->device = xrt::device(options->device);
        const xrt::xclbin xclbin{std::string(options->xclbin)};
        const int32_t bank = memory_of(xclbin, options->kernel);
        const xrt::uuid uuid = card->device.load_xclbin(xclbin);
        card->ip = xrt::ip(card->device, uuid, options->kernel);
        card->frames = xrt::bo(card->device, options->frames_bytes, xrt::bo::flags::normal,
                               static_cast<xrt::memory_group>(bank));
        card->records = xrt::bo(card->device, options->records_bytes, xrt::bo::flags::normal,
                                static_cast<xrt::memory_group>(bank));
        memory->frames = card->frames.map<uint8_t *>();
        memory->records = card->records.map<uint8_t *>();
        memory->frames_address = card->frames.address();
        memory->records_address = card->records.address();
    });
    if (is_open)
        return card;
    alveo_close(card);
    return nullptr;
}

void alveo_close(struct alveo_card *card)
{
    char text[ALVEO_TEXT];
    // A card that is lost may throw even here; there is nothing left to do about it.
    attempt(text, [&] { delete card; });
}

uint64_t alveo_access(struct alveo_card *card, struct alveo_access *accesses, uint64_t count,
                      char *text)
{
    uint64_t made = 0;
    attempt(text, [&] {
        for (; made < count; made++) {
            struct alveo_access &each = accesses[made];
            if (each.is_write)
                card->ip.write_register(each.offset, each.value);
            else
                each.value = card->ip.read_register(each.offset);
        }
    });
    return made;
}

int alveo_put(struct alveo_card *card, uint64_t bytes, char *text)
{
    const bool is_done =
        attempt(text, [&] { card->frames.sync(XCL_BO_SYNC_BO_TO_DEVICE, bytes, 0); });
    return is_done ? 0 : -1;
}

int alveo_get(struct alveo_card *card, uint64_t offset, uint64_t bytes, char *text)
{
    const bool is_done =
        attempt(text, [&] { card->records.sync(XCL_BO_SYNC_BO_FROM_DEVICE, bytes, offset); });
    return is_done ? 0 : -1;
}
}
