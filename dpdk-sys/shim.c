/*
 * Symbols for DPDK's inline functions. One line each: whoever wants to know what a function does reads DPDK's own
 * documentation, whoever wants to know why it is called reads dataplane/src/dpdk.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "wrapper.h"

#define SAME_PLACE(field) \
	_Static_assert(offsetof(struct bl_mbuf, field) == offsetof(struct rte_mbuf, field), \
		       "rte_mbuf." #field " moved: adapt struct bl_mbuf in wrapper.h")

SAME_PLACE(buf_addr);
SAME_PLACE(data_off);
SAME_PLACE(refcnt);
SAME_PLACE(nb_segs);
SAME_PLACE(port);
SAME_PLACE(ol_flags);
SAME_PLACE(packet_type);
SAME_PLACE(pkt_len);
SAME_PLACE(data_len);
SAME_PLACE(vlan_tci);
_Static_assert(offsetof(struct bl_mbuf, rss_hash) == offsetof(struct rte_mbuf, hash), "rte_mbuf.hash moved");
SAME_PLACE(vlan_tci_outer);
SAME_PLACE(buf_len);
SAME_PLACE(pool);

int bl_errno(void)
{
	return rte_errno;
}

unsigned int bl_lcore_id(void)
{
	return rte_lcore_id();
}

uint64_t bl_rdtsc(void)
{
	return rte_rdtsc();
}

static bl_log_sink log_sink;

static ssize_t log_write(void *cookie, const char *text, size_t length)
{
	(void)cookie;
	log_sink(rte_log_cur_msg_loglevel(), text, length);
	return (ssize_t)length;
}

int bl_log_open(bl_log_sink sink)
{
	static const cookie_io_functions_t functions = {.write = log_write};
	FILE *stream;

	log_sink = sink;
	stream = fopencookie(NULL, "w", functions);
	return stream == NULL ? -1 : rte_openlog_stream(stream);
}

/*
 * rte_pktmbuf_pool_create with a choice: without `contiguous` mbufs may cross pages. Ordinary pages are 4 KB, and a pool
 * that keeps each mbuf within one has gaps that net_af_xdp does not expect between its buffers.
 */
struct rte_mempool *bl_pktmbuf_pool_create(const char *name, unsigned int count, unsigned int cache,
					   uint16_t data_room, int contiguous)
{
	const unsigned int flags = contiguous ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;
	const unsigned int size = sizeof(struct rte_mbuf) + data_room;
	struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = data_room};
	struct rte_mempool *pool;
	int result;

	pool = rte_mempool_create_empty(name, count, size, cache, sizeof(private), SOCKET_ID_ANY, flags);
	if (pool == NULL)
		return NULL;
	result = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (result == 0) {
		rte_pktmbuf_pool_init(pool, &private);
		result = rte_mempool_populate_default(pool);
	}
	if (result < 0) {
		rte_mempool_free(pool);
		rte_errno = -result;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

struct rte_mbuf *bl_pktmbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int bl_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

unsigned int bl_mempool_available(const struct rte_mempool *pool, unsigned int lcores)
{
	unsigned int count = rte_mempool_get_ops(pool->ops_index)->get_count(pool);
	unsigned int lcore;

	for (lcore = 0; pool->cache_size > 0 && lcore < lcores; lcore++)
		count += pool->local_cache[lcore].len;
	/* Mbufs that move meanwhile may be seen twice. */
	return RTE_MIN(count, pool->size);
}

unsigned int bl_mempool_in_use(const struct rte_mempool *pool, unsigned int lcores)
{
	return pool->size - bl_mempool_available(pool, lcores);
}

void bl_pktmbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

int bl_pktmbuf_linearize(struct rte_mbuf *mbuf)
{
	return rte_pktmbuf_linearize(mbuf);
}

uint16_t bl_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, mbufs, count);
}

uint16_t bl_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

int bl_eth_rx_intr_watch(uint16_t port, uint16_t queue, int epoll)
{
	return rte_eth_dev_rx_intr_ctl_q(port, queue, epoll, RTE_INTR_EVENT_ADD, NULL);
}

int bl_eth_rx_intr_unwatch(uint16_t port, uint16_t queue, int epoll)
{
	return rte_eth_dev_rx_intr_ctl_q(port, queue, epoll, RTE_INTR_EVENT_DEL, NULL);
}

int bl_epoll_drain(int epoll)
{
	struct rte_epoll_event events[32];

	return rte_epoll_wait(epoll, events, RTE_DIM(events), 0);
}

int bl_eth_link_get_nowait(uint16_t port, struct bl_eth_link *link)
{
	struct rte_eth_link found = {0};
	int result = rte_eth_link_get_nowait(port, &found);

	link->speed_mbps = found.link_speed;
	link->full_duplex = found.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	link->up = found.link_status == RTE_ETH_LINK_UP;
	return result;
}

int bl_devargs_check(const char *device)
{
	struct rte_devargs found = {0};
	int result = rte_devargs_parse(&found, device);

	free(found.data);
	return result;
}
