import java.util.List;
import java.util.Map;
import org.opensearch.analysis.common.CommonAnalysisPlugin;
import org.opensearch.common.settings.Settings;
import org.opensearch.index.mapper.MapperExtrasPlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.transport.Netty4Plugin;

/**
 * A node of OpenSearch 2 that lives as long as its standard input is open.
 *
 * <p>Arguments: its folder, its name, the ports of HTTP and of transport, the transport addresses of all nodes, the names of all.
 */
public final class Launch extends Node {
  private Launch(Settings settings) {
    super(
        InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> settings.get("node.name")),
        List.of(Netty4Plugin.class, CommonAnalysisPlugin.class, MapperExtrasPlugin.class),
        true);
  }

  public static void main(String[] arguments) throws Exception {
    String folder = arguments[0];
    Settings.Builder settings = Settings.builder();
    settings.put("path.home", folder).put("path.data", folder + "/data").put("path.logs", folder + "/logs");
    settings.put("cluster.name", "lexite-tests").put("node.name", arguments[1]);
    settings.put("network.host", "127.0.0.1").put("http.port", arguments[2]).put("transport.port", arguments[3]);
    settings.put("http.type", "netty4").put("transport.type", "netty4");
    settings.putList("discovery.seed_hosts", arguments[4].split(","));
    settings.putList("cluster.initial_cluster_manager_nodes", arguments[5].split(","));
    settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
    new Launch(settings.build()).start();
    System.out.println("started");
    while (System.in.read() >= 0) {}
    System.exit(0);
  }
}
