/*
 * What Borderline uses of DPDK: the headers bindgen reads, and the declarations of shim.c.
 *
 * DPDK's fast-path functions are `static inline` and some of its constants are macros with casts; neither has a symbol
 * to link against. shim.c gives each a real symbol under the same name with the prefix `bl_`. No decision is taken here.
 */
#ifndef BORDERLINE_WRAPPER_H
#define BORDERLINE_WRAPPER_H

#include <rte_config.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_eal.h>
#include <rte_epoll.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

/*
 * The first cache line of an rte_mbuf. The field names of the real one sit in different anonymous unions in 22.11 and
 * 24.11, its layout is the same: shim.c asserts every offset below against the installed header.
 */
struct bl_mbuf {
	void *buf_addr;
	uint64_t buf_iova;
	uint16_t data_off;
	uint16_t refcnt;
	uint16_t nb_segs;
	uint16_t port;
	uint64_t ol_flags;
	uint32_t packet_type;
	uint32_t pkt_len;
	uint16_t data_len;
	uint16_t vlan_tci;
	uint32_t rss_hash;
	uint32_t hash_high;
	uint16_t vlan_tci_outer;
	uint16_t buf_len;
	struct rte_mempool *pool;
};

/* rte_eth_link without bit fields. */
struct bl_eth_link {
	uint32_t speed_mbps;
	uint8_t full_duplex;
	uint8_t up;
};

/* Called with each chunk of text DPDK logs, at the level of the message; the text is not NUL-terminated. */
typedef void (*bl_log_sink)(int level, const char *text, size_t length);

/* Per-thread state and clocks. */
int bl_errno(void);
unsigned int bl_lcore_id(void);
uint64_t bl_rdtsc(void);

/* Log. */
int bl_log_open(bl_log_sink sink);

/* Mempool and mbuf. */
struct rte_mempool *bl_pktmbuf_pool_create(const char *name, unsigned int count, unsigned int cache,
					   uint16_t data_room, int contiguous);
struct rte_mbuf *bl_pktmbuf_alloc(struct rte_mempool *pool);
int bl_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count);
/* Like rte_mempool_avail_count and _in_use_count, which look at the caches of all RTE_MAX_LCORE lcores there might be. */
unsigned int bl_mempool_available(const struct rte_mempool *pool, unsigned int lcores);
unsigned int bl_mempool_in_use(const struct rte_mempool *pool, unsigned int lcores);
void bl_pktmbuf_free(struct rte_mbuf *mbuf);
int bl_pktmbuf_linearize(struct rte_mbuf *mbuf);

/* Ports. */
uint16_t bl_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t bl_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
int bl_eth_link_get_nowait(uint16_t port, struct bl_eth_link *link);
/* Whether a driver answers to the name of a device; nothing is opened. */
int bl_devargs_check(const char *device);

/* Receive interrupts: a queue in an epoll set, and taking in what has happened there. */
int bl_eth_rx_intr_watch(uint16_t port, uint16_t queue, int epoll);
int bl_eth_rx_intr_unwatch(uint16_t port, uint16_t queue, int epoll);
int bl_epoll_drain(int epoll);

/* Constants whose macros bindgen cannot evaluate. */
static const uint64_t BL_MBUF_F_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t BL_MBUF_F_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t BL_MBUF_F_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;

static const uint64_t BL_ETH_RSS_IPV4 = RTE_ETH_RSS_IPV4;
static const uint64_t BL_ETH_RSS_FRAG_IPV4 = RTE_ETH_RSS_FRAG_IPV4;
static const uint64_t BL_ETH_RSS_NONFRAG_IPV4_OTHER = RTE_ETH_RSS_NONFRAG_IPV4_OTHER;
static const uint64_t BL_ETH_RSS_IPV6 = RTE_ETH_RSS_IPV6;
static const uint64_t BL_ETH_RSS_FRAG_IPV6 = RTE_ETH_RSS_FRAG_IPV6;
static const uint64_t BL_ETH_RSS_NONFRAG_IPV6_OTHER = RTE_ETH_RSS_NONFRAG_IPV6_OTHER;
static const uint64_t BL_ETH_RSS_NONFRAG_IPV4_TCP = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
static const uint64_t BL_ETH_RSS_NONFRAG_IPV4_UDP = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
static const uint64_t BL_ETH_RSS_NONFRAG_IPV6_TCP = RTE_ETH_RSS_NONFRAG_IPV6_TCP;
static const uint64_t BL_ETH_RSS_NONFRAG_IPV6_UDP = RTE_ETH_RSS_NONFRAG_IPV6_UDP;

static const uint64_t BL_ETH_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t BL_ETH_TX_OFFLOAD_MBUF_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;

static const uint32_t BL_VERSION_YEAR = RTE_VER_YEAR;
static const uint16_t BL_PKTMBUF_HEADROOM = RTE_PKTMBUF_HEADROOM;
static const uint32_t BL_MAX_LCORE = RTE_MAX_LCORE;
static const uint32_t BL_LCORE_ID_ANY = LCORE_ID_ANY;

#endif
