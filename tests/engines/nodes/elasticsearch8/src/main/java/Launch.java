import java.nio.file.Path;
import java.util.List;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.node.OpenNode;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.plugins.SearchPlugin;
import org.elasticsearch.transport.netty4.Netty4Plugin;
import org.elasticsearch.xpack.core.ml.search.SparseVectorQueryBuilder;

/**
 * A node of Elasticsearch 8 that lives as long as its standard input is open.
 *
 * <p>Arguments: its folder, its name, the ports of HTTP and of transport.
 */
public final class Launch {
  /** The query that x-pack would register. */
  public static final class SparseVectors extends Plugin implements SearchPlugin {
    @Override
    public List<QuerySpec<?>> getQueries() {
      return List.of(
          new QuerySpec<>(
              SparseVectorQueryBuilder.NAME, SparseVectorQueryBuilder::new, SparseVectorQueryBuilder::fromXContent));
    }
  }

  private Launch() {}

  public static void main(String[] arguments) throws Exception {
    String folder = arguments[0];
    LogConfigurator.loadLog4jPlugins();
    LogConfigurator.configureESLogging();
    Settings.Builder settings = Settings.builder();
    settings.put("path.home", folder).put("path.data", folder + "/data");
    settings.put("cluster.name", "lexite-tests").put("node.name", arguments[1]);
    settings.put("network.host", "127.0.0.1").put("http.port", arguments[2]).put("transport.port", arguments[3]);
    settings.put("http.type", "netty4").put("transport.type", "netty4").put("discovery.type", "single-node");
    settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
    OpenNode.run(settings.build(), Path.of(folder, "config"), List.of(Netty4Plugin.class, SparseVectors.class));
    System.out.println("started");
    while (System.in.read() >= 0) {}
    System.exit(0);
  }
}
