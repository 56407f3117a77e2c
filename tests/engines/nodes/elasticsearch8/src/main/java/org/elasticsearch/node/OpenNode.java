package org.elasticsearch.node;

import java.nio.file.Path;
import java.util.Collection;
import java.util.Map;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.plugins.MockPluginsService;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.plugins.PluginsLoader;
import org.elasticsearch.plugins.PluginsService;

/** A node with plugins from the class path. It is in this package because its parts are not visible elsewhere. */
public final class OpenNode extends Node {
  private OpenNode(NodeConstruction parts) {
    super(parts);
  }

  /** Makes and starts a node. */
  public static void run(Settings settings, Path config, Collection<Class<? extends Plugin>> plugins) throws Exception {
    Environment environment =
        InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), config, () -> settings.get("node.name"));
    NodeServiceProvider services =
        new NodeServiceProvider() {
          @Override
          PluginsService newPluginService(Environment its, PluginsLoader loader) {
            return new MockPluginsService(its.settings(), its, plugins);
          }
        };
    new OpenNode(NodeConstruction.prepareConstruction(environment, null, services, true)).start();
  }
}
